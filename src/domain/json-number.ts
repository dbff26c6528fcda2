/**
 * Whether a double holds a JSON number as it is written. `exact`: the shortest text that JavaScript gives back has the
 * same decimal value (0.50, 1.0, 1e2). `inexact`: it has another (2^53+1, 0.1000000000000000055). `range`: too large, or
 * so near to zero that nothing is left. Time in proportion to the length, whatever the digits.
 */
export function judgeNumber(written: string): 'exact' | 'inexact' | 'range' {
  const decimal = decompose(written)
  if (decimal.digits === '') return 'exact'
  const value = Number(written)
  if (!Number.isFinite(value) || value === 0) return 'range'
  // No shortest text has more than 17 digits.
  if (decimal.digits.length > 17) return 'inexact'
  const shortest = decompose(String(value))
  return decimal.digits === shortest.digits && decimal.exponent === shortest.exponent ? 'exact' : 'inexact'
}

/** The digits without zeros at either end, and the power of ten that belongs to the last of them; the sign is left out. */
function decompose(written: string): { readonly digits: string; readonly exponent: number } {
  const mark = written.search(/[eE]/)
  const mantissa = mark < 0 ? written : written.slice(0, mark)
  const power = mark < 0 ? 0 : Number(written.slice(mark + 1))
  const [whole = '', fraction = ''] = mantissa.replace('-', '').split('.')
  const all = whole + fraction
  // By hand: a regular expression for zeros at the end takes quadratic time on zeros that are not at the end.
  let start = 0
  let end = all.length
  while (start < end && all[start] === '0') start++
  while (end > start && all[end - 1] === '0') end--
  return { digits: all.slice(start, end), exponent: power - fraction.length + (all.length - end) }
}
