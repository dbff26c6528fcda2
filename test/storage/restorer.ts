/** A program that restores a backup over a store and kills itself before the step that it is told. */
import { restoreStore } from '../../src/storage/restore.ts'

const [from, path, fatal] = process.argv.slice(2)
await restoreStore(from!, path!, {
  replace: true,
  onStep: (step) => {
    if (step === fatal) process.kill(process.pid, 'SIGKILL')
  },
})
