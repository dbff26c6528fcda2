// Stands before everything that npm starts, and so must be understood by every Node from 20 on: this project runs its
// TypeScript directly and keeps its store with node:sqlite, and an older Node answers both with a page of stack traces.

const wanted = [24, 15]
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

if (major < wanted[0] || (major === wanted[0] && minor < wanted[1])) {
  process.stderr.write(
    `Node ${wanted.join('.')} or newer is needed, and this is ${process.version}: run \`npm ci\` with install scripts ` +
      'allowed, which brings one along, then start through npm, as in `npm run demo`.\n',
  )
  process.exit(1)
}
