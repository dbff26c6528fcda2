/** A moment for people: local time with its zone. Programs get milliseconds and ISO text, from `as-json.ts`. */
export function localTime(ms: number): string {
  const part = Object.fromEntries(formatter.formatToParts(ms).map(({ type, value }) => [type, value]))
  return `${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}:${part.second} ${part.timeZoneName}`
}

const formatter = new Intl.DateTimeFormat('en-CA', {
  year: 'numeric',
  month: '2-digit',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
  timeZoneName: 'short',
})

const units = [
  { ms: 86_400_000, name: 'd' },
  { ms: 3_600_000, name: 'h' },
  { ms: 60_000, name: 'min' },
  { ms: 1000, name: 's' },
] as const

/** How long something took or takes, to the unit that matters: `2 d`, `4 h`, `1.2 s`, `340 ms`. */
export function duration(ms: number): string {
  const unit = units.find((candidate) => ms >= candidate.ms)
  if (!unit) return `${Math.round(ms)} ms`
  const count = ms / unit.ms
  return `${count < 10 ? Math.round(count * 10) / 10 : Math.round(count)} ${unit.name}`
}
