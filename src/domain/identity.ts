import { randomBytes } from 'node:crypto'

/**
 * A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random bits. Ids made later sort later, to the millisecond,
 * so tables keyed by them append at their end and can be partitioned by month.
 */
export function newId(nowMs: number): string {
  const random = randomHex(10)
  const time = nowMs.toString(16).padStart(12, '0')
  const variant = ((Number.parseInt(random[3]!, 16) & 0x3) | 0x8).toString(16)
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-${variant}${random.slice(4, 7)}-${random.slice(8)}`
}

/** Whether a text from outside can be an id of ours at all. */
export function isId(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)
}

/** Random bytes as lower-case hex: claim tokens (16 bytes) and payload salts (16 bytes). */
export function randomHex(bytes: number): string {
  if (taken + bytes > drawn.length) {
    drawn = randomBytes(Math.max(drawBytes, bytes))
    taken = 0
  }
  const hex = drawn.toString('hex', taken, taken + bytes)
  // What was handed out does not stay behind: a salt must be gone once its payload is erased.
  drawn.fill(0, taken, taken + bytes)
  taken += bytes
  return hex
}

/** Random bytes are drawn in large portions, since a draw costs as much as everything else that a step hashes. */
const drawBytes = 4096
let drawn = Buffer.alloc(0)
let taken = 0
