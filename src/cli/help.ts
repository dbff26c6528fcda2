import type { Command, HelpConfiguration, Option } from 'commander'

/** How `--help` looks: the options of every command apart from a command's own, and lists of commands without noise. */
export const helpLook: HelpConfiguration = {
  showGlobalOptions: true,
  visibleGlobalOptions: (command) => ancestorsOf(command).flatMap(({ options }) => options.filter(isForEvery)),
  subcommandTerm: (command) => `${command.name()} ${command.usage().replace('[options]', '').trim()}`.trimEnd(),
  styleTitle: (title) => (title === 'Global Options:' ? 'Every command:' : title),
}

function ancestorsOf({ parent }: Command): Command[] {
  return parent ? [parent, ...ancestorsOf(parent)] : []
}

function isForEvery({ long }: Option): boolean {
  return long !== '--version'
}
