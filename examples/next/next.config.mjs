/** Static pages: all the work is done in the browser. */
export default { output: 'export' };
