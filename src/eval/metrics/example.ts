/** An answer of the model, and what it is compared with. */
export interface Example {
  readonly prediction: string;
  readonly reference: string;
  /** The last message of the user: what SARI takes the answer for a rewriting of. */
  readonly source: string;
}
