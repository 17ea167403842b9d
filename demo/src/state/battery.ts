/** A battery that runs low while it trains: a pause is offered, and the run goes on when the charger is back. */
import { effect, signal } from '@preact/signals';
import { pauseTraining, phase, resumeTraining } from './run.ts';

interface Battery extends EventTarget {
  readonly charging: boolean;
  readonly level: number;
}

/** From 0 to 1. */
const LOW = 0.2;
export const battery = signal<{ readonly charging: boolean; readonly level: number } | null>(null);
/** Whether the run stands still until the charger is back. */
export const isWaitingForPower = signal(false);
/** Whether the person does not want to be asked. */
export const isIgnored = signal(false);

export function isLow(): boolean {
  const now = battery.value;
  return now !== null && !now.charging && now.level <= LOW;
}

export async function watchBattery(): Promise<void> {
  const { getBattery } = navigator as { getBattery?: () => Promise<Battery> };
  const watched = await getBattery?.call(navigator).catch(() => null);
  if (!watched) return;
  const look = () => {
    const { charging, level } = watched;
    battery.value = { charging, level };
  };
  for (const change of ['chargingchange', 'levelchange']) watched.addEventListener(change, look);
  look();
  effect(() => {
    if (!isWaitingForPower.value) return;
    if (phase.value !== 'paused') isWaitingForPower.value = false;
    else if (battery.value?.charging) void resumeTraining();
  });
}

export async function waitForPower(): Promise<void> {
  await pauseTraining();
  isWaitingForPower.value = true;
}
