const words: Readonly<Record<string, string>> = {
  ENOTDIR: 'its folder is a file',
  EISDIR: 'it is a folder',
  EACCES: 'it is not allowed',
  EPERM: 'it is not allowed',
  EEXIST: 'there is a file of that name',
  ELOOP: 'its links lead in a circle',
  EROFS: 'nothing can be written there',
  ENOSPC: 'the disk is full',
}

/**
 * Why a file could not be used, to stand in a sentence; what has no words here is told by the system's own. Only the
 * caller knows what is missing when something is: the file, or the folder that it was to stand in.
 */
export function fileTrouble(error: unknown, missing = 'there is no such file or folder'): string {
  const code = codeOf(error) ?? ''
  if (code === 'ENOENT') return missing
  return words[code] ?? (error instanceof Error ? error.message : String(error))
}

/** Nothing stands at the path, which is no failure where a file may be left out. */
export function isAbsent(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}
