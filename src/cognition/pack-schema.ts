import { z } from 'zod'
import { configShape, domainShape, workflowShape } from './pack-shapes.ts'

const shapes = {
  workflow: { shape: workflowShape, title: 'A workflow of a Cognitive Core pack' },
  domain: { shape: domainShape, title: 'A domain of a Cognitive Core pack' },
  config: { shape: configShape, title: 'coordinator_config.yaml of a Cognitive Core pack' },
} as const

export type SchemaKind = keyof typeof shapes
export const schemaKinds = Object.keys(shapes) as readonly SchemaKind[]

/** JSON Schema of one kind of file, for editors: made from the shapes by which packs are loaded. */
export function packSchema(kind: SchemaKind): object {
  const { shape, title } = shapes[kind]
  return { title, ...z.toJSONSchema(shape, { io: 'input', unrepresentable: 'any' }) }
}
