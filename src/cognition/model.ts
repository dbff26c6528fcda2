/** Which call of which step is being answered. Scripted answers are found by it; real models ignore it. */
export interface CallAddress {
  /** The case's own id: `case_id`, `claim_id` or `_id` of the input, else the instance id. */
  readonly case: string
  readonly step: string
  readonly primitive: string
  readonly call: 'main' | 'assess' | 'select' | 'route'
  /** Which run of the step in this case, from 1. */
  readonly run: number
  /** Which attempt within that run, from 1. */
  readonly attempt: number
}

export interface ModelRequest {
  readonly address: CallAddress
  /** Alias (default, fast, standard, strong) or a provider's model id. */
  readonly alias: string | undefined
  readonly temperature: number | undefined
  /** What the primitive is and how it must answer. */
  readonly instructions: string
  /** The case's texts. */
  readonly prompt: string
  /** JSON Schema of the answer. */
  readonly schema: object
  readonly signal: AbortSignal
}

export interface ModelAnswer {
  /** The answer as the model wrote it; it goes through the strict JSON door like any other input. */
  readonly text: string
  /** The model and version that answered. */
  readonly model: string
  readonly inputTokens?: number
  readonly outputTokens?: number
}

/** A source of answers. Rejects with a `StepFailure` for everything that is not an answer. */
export interface Model {
  /** As shown to people: `scripted:packs/x/scripted.yaml`, `openai/…`. */
  readonly name: string
  /** Scripted answers make the whole store a simulation. */
  readonly simulated: boolean
  /**
   * Makes sure that this alias or id could be called; rejects with a `CoreError` where something is missing. Asked before
   * any case needs it. Unset: every alias is taken.
   */
  prepare?(alias: string | undefined): Promise<void>
  answer(request: ModelRequest): Promise<ModelAnswer>
}
