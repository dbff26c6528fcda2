#!/usr/bin/env node
// Nothing is imported before the version is known: an older Node would fail on the rest with a puzzle instead of a line.

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

if (major < 24 || (major === 24 && minor < 15)) {
  process.stderr.write(
    `error: this needs Node 24.15 or newer, and found ${process.version}: install it, or run \`npm ci\`.\n`,
  )
  process.exitCode = 1
} else {
  await import('./main.ts')
}

export {}
