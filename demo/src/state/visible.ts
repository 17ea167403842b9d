/** Which parts of the page the person can see: what nobody looks at is not asked for. */
import { type Signal, signal } from '@preact/signals';

const seen = new Map<Element, Signal<boolean>>();
let observer: IntersectionObserver | null = null;

/** A `ref` that tells whether an element is on the screen. */
export function whenVisible(visible: Signal<boolean>): (element: Element | null) => void {
  let watched: Element | null = null;
  return (element) => {
    observer ??= new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const told = seen.get(target);
        if (told) told.value = isIntersecting;
      }
    });
    if (watched) {
      observer.unobserve(watched);
      seen.delete(watched);
    }
    watched = element;
    if (!element) return;
    seen.set(element, visible);
    observer.observe(element);
  };
}

/** Whether the tab is in front. */
export const isTabVisible = signal(!document.hidden);
document.addEventListener('visibilitychange', () => {
  isTabVisible.value = !document.hidden;
});
