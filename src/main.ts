import { Interruption } from './cli/interruption.ts'
import { runProgram } from './cli/program.ts'

/** Composition root: the only place that knows every part. What is heavy is loaded when a command opens a store. */

process.exitCode = await runProgram(process.argv.slice(2), {
  env: process.env,
  streams: process,
  stores: {
    openCore: async (config) => (await import('./engine/open.ts')).openCore(config),
    openReader: async (config) => (await import('./engine/open-reader.ts')).openReader(config),
    initStore: async (place) => (await import('./storage/stores.ts')).initStore(place),
    grantStore: async (...about) => (await import('./storage/stores.ts')).grantStore(...about),
    migrateStore: async (place) => (await import('./storage/stores.ts')).migrateStore(place),
    backupStore: async (...about) => (await import('./storage/backup.ts')).backupStore(...about),
    restoreStore: async (...about) => (await import('./storage/restore.ts')).restoreStore(...about),
  },
  services: {
    start: async (settings) => (await import('./api/service.ts')).startService(settings),
    connect: async (address) => (await import('./api/client.ts')).connectService(address),
    openKeys: async (path) => new (await import('./api/keys.ts')).KeysFile(path),
  },
  interruption: (announce) => new Interruption({ announce, leave: () => process.exit(130) }),
})
