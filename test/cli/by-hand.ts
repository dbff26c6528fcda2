import { type Answer, fakeStreams, runHere } from './cli.ts'

/** Decides at a terminal: answers each question as a person would, once it is asked. */
export async function decideByHand(
  env: Readonly<Record<string, string>>,
  args: readonly string[],
  answers: readonly string[],
): Promise<Answer> {
  const terminal = fakeStreams({ isTerminal: true })
  const asked: string[] = []
  const left = [...answers]
  terminal.stderr.on('data', (chunk: Buffer) => {
    asked.push(String(chunk))
    if (!/(Decision|Reason|patch\)):/.test(String(chunk))) return
    const answer = left.shift()
    // Typed after the question was printed, and the end of the input when there is nothing more to say.
    setImmediate(() => (answer === undefined ? terminal.stdin.end() : terminal.stdin.write(`${answer}\n`)))
  })
  const answer = await runHere(['decide', ...args], { ...env, NO_COLOR: '1' }, terminal)
  // What was written last is read in a turn of its own.
  await new Promise((resolve) => setImmediate(resolve))
  return { ...answer, stderr: asked.join('') }
}
