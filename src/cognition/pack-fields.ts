import { z } from 'zod'
import type { Primitive } from './primitive.ts'

/** What is known of one field of an answer. */
export interface Field {
  readonly type: string | undefined
  /** The only values it has. */
  readonly values: readonly unknown[] | undefined
}

const known = new WeakMap<z.ZodType, ReadonlyMap<string, Field>>()

/** The fields that a primitive declares, from the schema of its answer; undefined when it declares none. */
export function fieldsOf({ answer }: Primitive): ReadonlyMap<string, Field> | undefined {
  if (!answer) return undefined
  let fields = known.get(answer)
  if (!fields) known.set(answer, (fields = readFields(answer)))
  return fields
}

interface JsonSchema {
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, JsonSchema>>
}

function readFields(answer: z.ZodType): ReadonlyMap<string, Field> {
  const { properties = {} } = z.toJSONSchema(answer, { unrepresentable: 'any' }) as JsonSchema
  return new Map(Object.entries(properties).map(([name, schema]) => [name, { type: schema.type, values: schema.enum }]))
}
