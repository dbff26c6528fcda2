import { CoreError } from './errors.ts'

/** The majors of Azure's packages that this program knows; none is installed with it. */
const majors = { '@azure/app-configuration': 1, '@azure/identity': 4 } as const

/** Loads an optional package for the sake of a setting; one that is not there is refused with what installs it. */
export async function loadAzure<T>(name: keyof typeof majors, setting: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load()
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND'
    const why = isMissing ? 'is not installed' : `cannot be used: ${(cause as Error).message}`
    const facts = { setting, package: name, why, version: `${name}@${majors[name]}` }
    throw new CoreError('CC_ERR_AZURE_PACKAGE', facts, { cause })
  }
}
