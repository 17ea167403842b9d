/** The recipe of this page, kept in its address. */
import { signal } from '@preact/signals';
import { formatRecipe, parseRecipe, type Recipe } from './recipe.ts';

export const recipe = signal<Recipe>(parseRecipe(location.search, location.hash));

/** Changes the recipe, and the address with it. */
export function changeRecipe(change: Partial<Recipe>): void {
  recipe.value = { ...recipe.value, ...change };
  const hash = formatRecipe(recipe.value, location.search);
  history.replaceState(null, '', `${location.pathname}${location.search}${hash && `#${hash}`}`);
}

/** The address of this set-up, to be given to others. */
export function recipeLink(): string {
  return location.href;
}
