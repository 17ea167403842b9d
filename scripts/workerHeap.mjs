/**
 * Returns a function that asks the worker of a page what its heap holds, after a collection if told so: bytes of JavaScript values
 * (`used`), and bytes of buffers beside them.
 *
 * @param {import('playwright').Page} page
 */
export async function heapReader(page) {
  const session = await page.context().newCDPSession(page);
  const worker = await new Promise((resolve) => {
    session.on('Target.attachedToTarget', ({ sessionId, targetInfo }) => {
      if (targetInfo.type === 'worker') resolve(sessionId);
    });
    void session.send('Target.setAutoAttach', { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  });
  let id = 0;
  /** @param {string} method */
  const ask = (method) =>
    new Promise((resolve) => {
      id += 1;
      const mine = id;
      /** @param {{ message: string }} event */
      const hear = ({ message }) => {
        const answer = JSON.parse(message);
        if (answer.id !== mine) return;
        session.off('Target.receivedMessageFromTarget', hear);
        resolve(answer.result);
      };
      session.on('Target.receivedMessageFromTarget', hear);
      void session.send('Target.sendMessageToTarget', {
        sessionId: worker,
        message: JSON.stringify({ id: mine, method }),
      });
    });
  return async ({ collect = false } = {}) => {
    if (collect) await ask('HeapProfiler.collectGarbage');
    const { usedSize, backingStorageSize = 0 } = await ask('Runtime.getHeapUsage');
    return { used: usedSize, buffers: backingStorageSize };
  };
}
