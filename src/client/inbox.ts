/**
 * What came and was not taken yet. It does not refuse what comes when it is full, because what was read must go
 * somewhere; it says that it is crowded, and when there is room again, to whoever can stop reading.
 */
export class Inbox<Item> {
  onCrowded: () => void = () => {};
  onRoom: () => void = () => {};
  readonly #capacity: number;
  #items: Item[] = [];
  #failure: Error | null = null;
  #ended = false;
  #wake: (() => void) | null = null;
  #waitingForRoom: (() => void)[] = [];

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get isCrowded(): boolean {
    return this.#items.length >= this.#capacity;
  }

  put(item: Item): void {
    this.#items.push(item);
    if (this.isCrowded) this.onCrowded();
    this.#wake?.();
  }

  /** What came before is still to be taken. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  /** What came and was not taken is dropped. */
  end(): void {
    this.#ended = true;
    this.#items = [];
    this.#wake?.();
    this.#makeRoom();
  }

  /** @returns all that waits, oldest first, once there is something; null at the end */
  async take(): Promise<Item[] | null> {
    while (this.#items.length === 0 && this.#failure === null && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#ended) return null;
    if (this.#items.length === 0 && this.#failure !== null) throw this.#failure;
    const wasCrowded = this.isCrowded;
    const items = this.#items;
    this.#items = [];
    if (wasCrowded) {
      this.onRoom();
      this.#makeRoom();
    }
    return items;
  }

  async room(): Promise<void> {
    if (!this.isCrowded) return;
    await new Promise<void>((resolve) => this.#waitingForRoom.push(resolve));
  }

  #makeRoom(): void {
    for (const resolve of this.#waitingForRoom.splice(0)) resolve();
  }
}
