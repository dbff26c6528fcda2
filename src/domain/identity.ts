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

/** Random bytes as lower-case hex: claim tokens (16 bytes) and payload salts (16 bytes). */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex')
}
