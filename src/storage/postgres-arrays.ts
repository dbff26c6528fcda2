/**
 * A column of values as one parameter, in the form in which PostgreSQL itself sends arrays
 * (https://www.postgresql.org/docs/current/protocol-overview.html, `array_send`): nothing is quoted here and parsed there,
 * which for a batch of steps is a third of what it costs.
 */
export function encodeArray(type: ArrayType, values: readonly (string | number | null)[]): Buffer {
  const bytes = values.map((value) => (value === null ? -1 : widthOf(type, value)))
  const size = bytes.reduce((sum, width) => sum + 4 + Math.max(width, 0), headerBytes)
  const buffer = Buffer.allocUnsafe(size)
  buffer.writeInt32BE(1, 0)
  buffer.writeInt32BE(values.includes(null) ? 1 : 0, 4)
  buffer.writeInt32BE(oids[type], 8)
  buffer.writeInt32BE(values.length, 12)
  buffer.writeInt32BE(1, 16)
  let at = headerBytes
  for (const [index, value] of values.entries()) {
    at = buffer.writeInt32BE(bytes[index]!, at)
    if (value === null) continue
    if (typeof value === 'string') at += buffer.write(value, at)
    else at = buffer.writeBigInt64BE(BigInt(value), at)
  }
  return buffer
}

export type ArrayType = 'bigint' | 'text'

const oids = { bigint: 20, text: 25 } as const

/** Dimensions, whether there are nulls, the type of elements, their number, and the number of the first. */
const headerBytes = 20

function widthOf(type: ArrayType, value: string | number): number {
  if (type === 'text' && typeof value === 'string') return Buffer.byteLength(value)
  if (type === 'bigint' && Number.isSafeInteger(value)) return 8
  throw Object.assign(new TypeError(`no column of ${type} takes ${String(value)}`), { code: 'ERR_INVALID_ARG_TYPE' })
}
