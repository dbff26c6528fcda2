/**
 * The page at `/`: a plain client of the HTTP API, for the people who decide cases, audit them and keep them moving.
 *
 * Whatever the API says goes into the page as text, through `element`: nothing that is stored can become markup, and
 * characters that show as nothing are written as escapes. A view reads its part of the API and shows it again whenever
 * the service hints that something has changed; what has not changed stays in place, with its focus and selection.
 */

/** Who the service takes us for: `{ actor, roles, simulated, version }`. */
let me
/** What can be submitted, as the service lists it. */
let workflows = []
/** Open tasks, most urgent first; no more of them than one page of the list. */
let openTasks = { items: [], next_cursor: null }
/** What is shown: `{ root, title, refresh(), concerns(ids) }`. */
let view
/** Ends the requests of the view once it is left. */
let leaving = new AbortController()
/** Ends everything that runs in the name of the caller. */
let session = new AbortController()

const maxEntries = 50
const maxRows = 500
const longTextCharacters = 900
const longTextLines = 14
const maxNesting = 5
const pollMs = 5_000
const hiddenPollMs = 30_000
const refreshMs = 1_000
/** A stream says something at least every 15 seconds. */
const silenceMs = 45_000
const maxBackoffMs = 15_000

const byId = (id) => document.getElementById(id)
const can = (...roles) => roles.some((role) => me.roles.includes(role))

// ---------------------------------------------------------------------------------------------------- who is there

async function start() {
  byId('skip').addEventListener('click', () => byId('main').focus())
  addEventListener('hashchange', () => me && openPlace())
  document.addEventListener('visibilitychange', lookAway)
  setInterval(tickTimes, 10_000)
  setInterval(() => me && document.hidden && refreshSoon(), hiddenPollMs)
  await enter()
}

/** Asks who we are, again and again while the service starts or cannot be reached. */
async function enter() {
  for (let failures = 0; ; failures++) {
    try {
      return await identify()
    } catch (error) {
      if (error.status === 401) return signIn(sessionStorage.getItem('key') === null ? undefined : error)
      byId('main').replaceChildren(problem(error))
      if (!isPassing(error)) return undefined
      await pause(backoff(failures))
    }
  }
}

/** Learns who we are by the key or the name that is kept, and begins anew as that one. */
async function identify() {
  me = await get('/v1/me')
  session.abort()
  session = new AbortController()
  workflows = (await get('/v1/workflows')).items
  showCaller()
  void openPlace()
  void keepUp(session.signal)
}

function signIn(refusal) {
  me = undefined
  session.abort()
  leaving.abort()
  sessionStorage.removeItem('key')
  for (const id of ['places', 'live', 'simulated']) byId(id).hidden = true
  byId('who').replaceChildren()
  document.title = 'Sign in · Cognitive Core'
  const key = element('input', {
    id: 'key',
    type: 'password',
    required: true,
    autocomplete: 'off',
    spellcheck: 'false',
    pattern: '[!-~]+',
    title: 'A key is one word of plain letters, digits and signs',
  })
  const form = formOf(
    { label: 'Sign in', fields: [element('label', { for: 'key' }, 'API key'), key] },
    async () => {
      sessionStorage.setItem('key', key.value)
      try {
        await identify()
      } catch (error) {
        sessionStorage.removeItem('key')
        throw error
      }
    },
    refusal,
  )
  const hint = 'The key is kept until this tab is closed, and sent to this service alone.'
  byId('main').replaceChildren(make('div.sign-in', make('h1', 'Sign in'), form, make('p.muted', hint)))
  key.focus()
}

function showCaller() {
  const roles = me.roles.length === 4 ? 'all roles' : me.roles.join(', ')
  byId('who').replaceChildren(
    make('span.actor', actorOf(me.actor)),
    make('span.muted', `${roles} · ${me.version}`),
    me.actor.startsWith('unverified:')
      ? element('button.quiet', { type: 'button', onclick: changeName }, 'Change name')
      : element('button.quiet', { type: 'button', onclick: () => signIn() }, 'Sign out'),
  )
  byId('places').hidden = false
  showSimulated()
}

function showSimulated() {
  byId('simulated').hidden = me.simulated !== true
}

function changeName() {
  const value = me.actor.replace(/^unverified:/, '')
  const hint = 'Without API keys nobody vouches for a name: the record marks it as unverified.'
  ask({ title: 'Who are you?', hint, label: 'Name', value, verb: 'Use this name' }, async (name) => {
    const before = sessionStorage.getItem('name')
    sessionStorage.setItem('name', name)
    try {
      await identify()
    } catch (error) {
      if (before === null) sessionStorage.removeItem('name')
      else sessionStorage.setItem('name', before)
      throw error
    }
  })
}

// ---------------------------------------------------------------------------------------------------- where we are

const places = {
  tasks: {
    title: 'Tasks',
    roles: ['reviewer', 'auditor'],
    list: taskList,
    one: taskView,
    closed: 'Tasks are for reviewers, who decide them, and for auditors.',
  },
  cases: {
    title: 'Cases',
    roles: ['submitter', 'reviewer', 'auditor'],
    list: caseList,
    one: caseView,
    closed: 'Operators keep cases moving and do not see what is in them.',
  },
}

/** Shows the view that the address names: `#/tasks`, `#/tasks/ID`, `#/cases?status=failed`. */
async function openPlace() {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?')
  const [asked, id] = path.split('/')
  const name = Object.hasOwn(places, asked) ? asked : can(...places.tasks.roles) ? 'tasks' : 'cases'
  const place = places[name]
  leaving.abort()
  leaving = new AbortController()
  const root = element('div.view', { hidden: id !== undefined })
  const context = { root, id, params: new URLSearchParams(query), signal: leaving.signal }
  const open = can(...place.roles) ? (id ? place.one : place.list) : closedView
  view = { root, ...open(context, place) }
  for (const link of byId('places').children) {
    if (link.hash === `#/${name}`) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  const focusedId = document.activeElement?.id
  byId('main').replaceChildren(element('div', { id: 'problems' }), root)
  scrollTo(0, 0)
  showTitle()
  await refreshView()
  // A filter that was just used keeps the focus; otherwise reading begins at the heading.
  const target = focusedId?.startsWith('filter-') ? byId(focusedId) : root.querySelector('h1')
  if (context.signal === leaving.signal) target?.focus({ preventScroll: true })
}

/** What a caller sees whose role does not open this place: a sentence, and for operators what they can do. */
function closedView({ root, id }, { title, closed }) {
  root.append(make('div.head', heading(title)), make('p.note', closed))
  if (title === 'Cases') root.append(id ? operatorDesk(id) : caseFinder())
  return { title, concerns: () => false, refresh: async () => {} }
}

function showTitle() {
  const count = countInWords()
  document.title = `${count && `(${count}) `}${view.title} · Cognitive Core`
}

function countInWords() {
  const { items, next_cursor: more } = openTasks
  return items.length === 0 ? '' : `${items.length}${more === null ? '' : '+'}`
}

// ---------------------------------------------------------------------------------------------------- staying up to date

let refreshing = Promise.resolve()

/** One after the other, so that what was read later is shown later. */
function refreshView() {
  return (refreshing = refreshing.then(async () => {
    const { signal } = leaving
    try {
      await view.refresh()
      if (signal.aborted) return
      byId('problems').replaceChildren()
      view.root.hidden = false
      tickTimes()
      showTitle()
      if (isPolled()) showLive('polling')
    } catch (error) {
      if (signal.aborted) return
      if (error.code === 'offline') showLive('offline')
      report(error)
    }
  }))
}

/** Shows above the view what a request in the background was refused with. */
function report(error) {
  if (error.status === 401) signIn(error)
  else byId('problems')?.replaceChildren(problem(error))
}

let isConcerned = false

/** However many hints arrive, what is shown is read once a second at most. */
const refreshSoon = atMostEvery(refreshMs, async () => {
  const isViewStale = isConcerned
  isConcerned = false
  await Promise.all([countTasks(), isViewStale && refreshView()])
})

async function countTasks() {
  try {
    // A store becomes a simulation with its first case.
    if (me.simulated === null) me = await get('/v1/me', session.signal)
    showSimulated()
    if (!can(...places.tasks.roles)) return
    openTasks = await get('/v1/tasks?limit=100', session.signal)
    byId('open-tasks').textContent = countInWords()
    showTitle()
  } catch (error) {
    // What is wrong shows in the view and in the light beside it; a count that is old for a moment harms nobody.
    if (error.status === 401) report(error)
  }
}

/** Hears of every change where the caller may, and asks now and then where not. */
async function keepUp(signal) {
  if (can(...places.tasks.roles)) {
    return await keepOpen('/v1/stream', {
      signal,
      opened() {
        showLive('live')
        isConcerned = true
        refreshSoon()
      },
      heard(_event, { instance_ids: ids, whole }) {
        isConcerned ||= !whole || view.concerns(ids)
        refreshSoon()
      },
      lost: () => showLive('offline'),
    })
  }
  byId('live').hidden = true
  if (!isPolled()) return
  while (!signal.aborted) {
    await untilVisible()
    isConcerned = true
    refreshSoon()
    await pause(pollMs, signal)
  }
}

/** Whether the caller sees something and may not hear of changes. Operators see nothing. */
function isPolled() {
  return can('submitter') && !can(...places.tasks.roles)
}

const liveWords = { live: 'live', polling: 'every 5 s', offline: 'offline, trying again' }

function showLive(state) {
  const light = byId('live')
  if (light.dataset.state !== state) light.textContent = liveWords[state]
  light.dataset.state = state
  light.hidden = false
}

/**
 * Keeps a stream open until it is over: comes back after a drop, waits longer each time, and rests while nobody looks,
 * since a browser keeps six connections to one service for all of its tabs together.
 */
async function keepOpen(path, { signal, after = () => 0, opened, heard, lost }) {
  for (let failures = 0; !signal.aborted;) {
    await untilVisible()
    try {
      const both = AbortSignal.any([signal, looking.signal])
      const begun = () => {
        failures = 0
        opened?.()
      }
      if ((await stream(path, { signal: both, after: after(), begun, heard })) === 'over') return
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof Refusal && !isPassing(error)) return report(error)
    }
    if (signal.aborted || document.hidden) continue
    lost?.()
    await pause(backoff(failures++), signal)
  }
}

/** Aborted when the page is hidden. */
let looking = new AbortController()

function lookAway() {
  if (!document.hidden) return
  looking.abort()
  looking = new AbortController()
}

function untilVisible() {
  if (!document.hidden) return undefined
  return new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }))
}

// ---------------------------------------------------------------------------------------------------- the API

/** A request that was refused: a problem document (RFC 9457), or the want of an answer. */
class Refusal extends Error {
  constructor(document) {
    super(document.detail)
    Object.assign(this, document)
  }
}

/** Whether the same request may succeed by and by. */
function isPassing({ code, status }) {
  return code === 'offline' || status === 429 || status >= 500
}

async function request(path, { body, signal, headers } = {}) {
  const key = sessionStorage.getItem('key')
  const name = sessionStorage.getItem('name')
  let response
  try {
    response = await fetch(path, {
      method: body === undefined ? 'GET' : 'POST',
      cache: 'no-store',
      headers: {
        ...(key !== null && { authorization: `Bearer ${key}` }),
        // A header holds ASCII alone.
        ...(name !== null && { 'x-actor': encodeURIComponent(name.toWellFormed()) }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      ...(signal && { signal }),
    })
  } catch (error) {
    if (signal?.aborted) throw error
    throw new Refusal({
      code: 'offline',
      detail: 'The service cannot be reached.',
      remedy: 'The page keeps trying. Sending the same decision again is safe: it is recorded once.',
    })
  }
  if (response.ok) return response
  const { status } = response
  // A proxy in between has no problem document.
  const bare = { status, code: `HTTP ${status}`, detail: 'The request was refused.' }
  throw new Refusal(await response.json().catch(() => bare))
}

const get = async (path, signal) => await (await request(path, { signal })).json()
const post = async (path, body) => await (await request(path, { body })).json()
const pathOf = (kind, id, rest = '') => `/v1/${kind}/${encodeURIComponent(id)}${rest}`

/** Reads one answer of server-sent events to its end. A stream that is over for good is answered with 204. */
async function stream(path, { signal, after, begun, heard }) {
  const headers = { accept: 'text/event-stream', ...(after > 0 && { 'last-event-id': String(after) }) }
  const response = await request(path, { signal, headers })
  if (response.status === 204) return 'over'
  begun()
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let isOver = false
  for (let rest = ''; ;) {
    // A connection that died without a word never ends by itself.
    const silence = setTimeout(() => reader.cancel(), silenceMs)
    const { done, value } = await reader.read().finally(() => clearTimeout(silence))
    if (done) return isOver ? 'over' : 'dropped'
    const frames = (rest + value).split('\n\n')
    rest = frames.pop()
    for (const frame of frames) {
      const fields = Object.fromEntries(frame.split('\n').map((line) => line.split(/: ?(.*)/s)))
      if (fields.event === 'end') isOver = true
      else if (fields.data !== undefined) heard(fields.event, JSON.parse(fields.data))
    }
  }
}

// ---------------------------------------------------------------------------------------------------- cases

const statuses = ['running', 'suspended', 'completed', 'failed', 'terminated', 'canceled']

function caseList({ root, params, signal }) {
  const names = [...new Set(workflows.map(({ workflow }) => workflow))]
  const list = make('div')
  root.append(
    make(
      'div.head',
      heading('Cases'),
      filter({ name: 'status', label: 'Status', values: statuses, params }),
      filter({ name: 'workflow', label: 'Workflow', values: names, params }),
    ),
    isPolled() ? make('p.note', 'You see the cases that you have submitted.') : '',
    list,
  )
  const table = tableOf(['Case', 'Status', 'Tier', 'Result', 'Submitted', 'By', 'Id'])
  return {
    title: 'Cases',
    concerns: () => true,
    async refresh() {
      const { items, next_cursor: next } = await get(`/v1/cases?${params}`, signal)
      showAll(table.rows, items, (item) => item.instance_id, caseRow)
      const pages = pager({ params, next, words: ['Newest', 'Older'] })
      arrange(list, items.length > 0 ? [table.node, pages] : [noCases(params)])
    },
  }
}

function caseRow(item) {
  const { instance_id: id, workflow, domain } = item
  const href = `#/cases/${id}`
  const cells = [
    ['name', element('a', { href }, workflow), make('span.muted', domain)],
    ['state', statusOf(item)],
    ['level', tierOf(item.tier)],
    ['result', resultInWords(item)],
    ['when', timeOf(item.submitted_at_ms)],
    ['by', actorOf(item.submitted_by)],
    ['id', copyable(id)],
  ]
  return rowOf(cells, { href })
}

/** What came out, in a few words. */
function resultInWords({ outcome, proposed, failure, status }) {
  if (failure) return failure.code
  const value = outcome ?? proposed
  if (!isObject(value)) return value === null ? '' : JSON.stringify(value)
  const said = [value.disposition, value.recommendation, value.category].filter((part) => typeof part === 'string')
  return `${outcome === null && status === 'suspended' ? 'proposed: ' : ''}${said.join(' · ')}`
}

function noCases(params) {
  if (params.size > 0) {
    return emptyState('No case is like this.', element('a', { href: '#/cases' }, 'Show all cases'))
  }
  if (!can('submitter')) return emptyState('There is no case yet.', 'It appears here once somebody has submitted one.')
  const { workflow = 'WORKFLOW', domain = 'DOMAIN' } = workflows[0] ?? {}
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`
  const curl = [
    `curl ${location.origin}/v1/cases`,
    "-H 'content-type: application/json'",
    ...(sessionStorage.getItem('key') === null ? [] : ['-H "authorization: Bearer $CC_API_KEY"']),
    `-d ${quoted(JSON.stringify({ workflow, domain, input: {} }))}`,
  ].join(' \\\n  ')
  const cli = `cognitive-core submit ${quoted(workflow)} --domain ${quoted(domain)} --input FILE --url ${location.origin}`
  return emptyState(
    'There is no case yet. Submit one, and it appears here by itself:',
    ...[cli, curl].map((command) => make('div.command', make('pre', command), copyable(command, 'Copy'))),
  )
}

function caseView({ root, id, signal }) {
  const head = make('div')
  const outcome = make('div')
  const why = make('div')
  const input = make('div')
  const steps = stepsSection()
  const left = make('span.aside')
  const record = tableOf(['', 'Time', 'Event', 'Actor', 'Facts', 'Hash'])
  const facts = make('div')
  const actions = make('div.actions')
  const said = element('div', { role: 'status' })
  root.append(
    head,
    make(
      'div.columns',
      make('div', outcome, why, input, steps.node, section(['Record', left], record.node)),
      make('aside', facts, make('section', actions, said)),
    ),
  )
  let events = []
  let contents = new Map()
  /** Whether somebody waits for events, and whether the stream that brings them is open. */
  let isFollowed = false
  let isTold = false
  const lastSeq = () => events.at(-1)?.seq ?? 0

  /** What an event refers to. Only the export holds all of it, so it is read once somebody wants to see it. */
  async function readContent(payloadId) {
    if (!contents.has(payloadId)) {
      const { payloads } = await get(pathOf('cases', id, '/export'), signal)
      contents = new Map(payloads.map((payload) => [payload.payload_id, payload.text]))
    }
    return contents.get(payloadId)
  }

  /** Takes the events of the record as they come, until nothing more is expected of the case. */
  async function follow() {
    isFollowed = true
    await keepOpen(pathOf('cases', id, '/stream'), {
      signal,
      after: lastSeq,
      opened: () => (isTold = true),
      lost: () => (isTold = false),
      heard(_type, event) {
        if (event.seq > lastSeq()) events.push(event)
        isConcerned = true
        refreshSoon()
      },
    })
    isFollowed = isTold = false
    if (!signal.aborted) void refreshView()
  }

  return {
    title: 'Case',
    concerns: (ids) => ids.includes(id),
    async refresh() {
      const [found, { items }] = await Promise.all([
        get(pathOf('cases', id), signal),
        get(pathOf('cases', id, '/steps'), signal),
      ])
      if (!isTold) events = (await get(pathOf('cases', id, '/audit'), signal)).items
      this.title = found.workflow
      showOne(head, found, caseHead)
      showOne(outcome, outcomePart(found), outcomeSection)
      showOne(why, found, tierSection)
      showOne(input, events[0]?.payload_id, (first) => folded('What was submitted', () => readContent(first)))
      steps.show(items, found)
      const build = (event) => eventRow(event, readContent)
      showAll(record.rows, events.slice(-maxRows), ({ seq }) => seq, build)
      left.textContent = leftInWords(events)
      showOne(facts, found, caseFacts)
      showOne(actions, found.status, (status) => caseActions({ id, status, said }))
      if (!isFollowed && !isOver(found)) void follow()
    },
  }
}

/** Nothing more is expected to happen: the case has ended, and nobody is asked about it. */
function isOver({ status, open_tasks: open }) {
  return status !== 'running' && status !== 'suspended' && open.length === 0
}

function caseHead(item) {
  return make(
    'div.head',
    heading(item.workflow, make('span.muted', ` · ${item.domain}`)),
    statusOf(item),
    tierOf(item.tier),
  )
}

const workWords = { ready: 'waits for a worker', claimed: 'with a worker', sleeping: 'waits until it is tried again' }

function caseFacts(item) {
  const canSeeTasks = can(...places.tasks.roles)
  const tasks = item.open_tasks.map((task) =>
    canSeeTasks ? element('a', { href: `#/tasks/${task}` }, 'waits for a person') : 'waits for a person',
  )
  return section(
    'Case',
    factsOf('dl.facts', [
      ['open task', tasks.length > 0 && tasks],
      ['work', item.work && workWords[item.work]],
      ['submitted', timeOf(item.submitted_at_ms)],
      ['by', actorOf(item.submitted_by)],
      item.ended_at_ms === null ? ['changed', timeOf(item.updated_at_ms)] : ['ended', timeOf(item.ended_at_ms)],
      ['case', copyable(item.instance_id)],
      ['definition', copyable(item.definition_hash)],
    ]),
  )
}

/** All that `outcomeSection` shows, so that other changes of the case leave it as it is: unfolded, half selected. */
const outcomePart = ({ status, outcome, proposed, failure, in_doubt }) => ({
  status,
  outcome,
  proposed,
  failure,
  in_doubt,
})

/** What took effect beside what was proposed; where they differ, a person has changed it. */
function outcomeSection({ status, outcome, proposed, failure, in_doubt: inDoubt }) {
  const parts = []
  if (failure) {
    parts.push(make('div.notice.bad', make('p', failure.message), make('code', failure.code)))
  }
  if (inDoubt !== null) {
    const words = ' began to act outside, and no result is recorded: nobody knows whether it took place.'
    parts.push(make('div.notice.bad', make('strong', inDoubt), words))
  }
  if (outcome !== null && same(outcome, proposed)) {
    parts.push(section(['Outcome', aside('as it was proposed')], contentOf(outcome)))
  } else if (outcome !== null) {
    const isChanged = proposed !== null
    parts.push(section(['Outcome', isChanged && aside('changed by a person')], contentOf(outcome, proposed)))
    if (isChanged) parts.push(make('details', make('summary', 'As it was proposed'), contentOf(proposed)))
  } else if (proposed !== null) {
    const stand = status === 'terminated' ? 'denied: it did not take effect' : 'it has not taken effect'
    parts.push(section(['Proposed', aside(stand)], contentOf(proposed)))
  } else if (status === 'completed') {
    parts.push(section('Outcome', make('p.muted', 'Its content was erased, or there was none.')))
  }
  return make('div', parts)
}

function tierSection(item) {
  if (item.tier_contributions.length === 0) return make('div')
  return section(`Why the tier is ${item.tier ?? 'not settled'}`, contributionsOf(item))
}

/** Every voice in the choice of the tier; those that decided it stand out. */
function contributionsOf({ tier, tier_contributions: voices }) {
  const table = tableOf(['Tier', 'Asked by', 'Because'])
  for (const voice of voices) {
    const cells = [
      ['level', tierOf(voice.tier)],
      ['by', voice.source.replace('_', ' ')],
      ['because', voice.because],
    ]
    table.rows.append(rowOf(cells, { kind: voice.tier === tier ? 'tr.decisive' : 'tr' }))
  }
  return table.node
}

/** The steps of a case: the way it took, and each step with what it gave. */
function stepsSection({ isOpen = false } = {}) {
  const path = make('p.path')
  const left = make('span.aside')
  const list = make('div.steps')
  const toggle = element('button.quiet', { type: 'button' }, isOpen ? 'Close all' : 'Open all')
  toggle.addEventListener('click', () => {
    const isOpening = toggle.textContent === 'Open all'
    for (const step of list.children) step.open = isOpening
    toggle.textContent = isOpening ? 'Close all' : 'Open all'
  })
  return {
    node: section(['Steps', toggle, left], path, list),
    show(steps, { path: names }) {
      path.replaceChildren(...shown(names.length > 0 ? names.slice(-maxRows).join(' → ') : 'no step yet'))
      const build = (step) => stepCard(step, isOpen)
      showAll(list, steps.slice(-maxRows), (step) => step.step_no, build)
      left.textContent = leftInWords(steps)
    },
  }
}

/** What a page does not hold, the export does. */
function leftInWords({ length }) {
  return length > maxRows ? `the latest ${maxRows} of ${length}; the export has all` : ''
}

function stepCard(step, isOpen) {
  const { output } = step
  const isFailed = step.status === 'failed'
  const { confidence, reasoning, ...rest } = isObject(output) ? output : { output }
  const words = [
    step.primitive,
    step.run > 1 && `run ${step.run}`,
    step.attempts > 1 && `${step.attempts} attempts`,
    isFailed && `failed: ${step.error_code}`,
  ]
  const cost = [
    step.model,
    step.input_tokens !== null && `${step.input_tokens} tokens in, ${step.output_tokens ?? 0} out`,
    durationInWords(step.ended_at_ms - step.started_at_ms),
  ]
  return element(
    isFailed ? 'details.step.failed' : 'details.step',
    { open: isOpen || isFailed },
    make(
      'summary',
      make('span.number', step.step_no),
      make('strong', step.step),
      make('span.muted', dotted(words)),
      typeof confidence === 'number' && confidenceOf(confidence),
      typeof reasoning === 'string' && make('span.gist', reasoning),
    ),
    typeof reasoning === 'string' && make('div', textOf(reasoning)),
    output === null ? make('p.muted', 'Its output was erased.') : contentOf(rest),
    make('p.route', routeInWords(step.route)),
    make('p.muted', timeOf(step.started_at_ms), ` · ${dotted(cost)}`),
  )
}

function confidenceOf(share) {
  const bar = element('i', { 'aria-hidden': 'true' })
  bar.style.setProperty('--share', String(share))
  return element('span.confidence', { title: `confidence ${share}` }, bar, ` ${share.toFixed(2)}`)
}

const routeWords = {
  sequence: 'next in line',
  default: 'no condition held',
  loop_fallback: 'it ran out of loops',
  agent: 'a model chose it',
  agent_fallback: 'the model chose nothing there is',
  failure: 'the step failed',
}

function routeInWords({ to, by, condition, missing = [] }) {
  const why = by === 'when' ? condition : (routeWords[by] ?? by)
  const gaps = missing.length > 0 ? `; missing: ${missing.join(', ')}` : ''
  return `→ ${to === '__end__' ? 'the end' : to}: ${why}${gaps}`
}

function eventRow({ seq, type, at_ms: atMs, step, actor, tier, facts, payload_id: payload, hash }, readContent) {
  const told = Object.entries({ ...(tier && { tier }), ...facts }).map(([name, value]) => factOf(name, value))
  return rowOf([
    ['seq', seq],
    ['when', exactTimeOf(atMs)],
    ['event', type, step && make('span.muted', step)],
    ['by', actorOf(actor)],
    ['facts', told, payload && folded(['payload ', copyable(payload)], () => readContent(payload))],
    ['id', copyable(hash)],
  ])
}

function factOf(name, value) {
  const label = make('span.muted', `${name} `)
  if (typeof value === 'object') return make('details', make('summary', label), contentOf(value))
  if (name === 'task' && can(...places.tasks.roles)) {
    return make('span', label, element('a', { href: `#/tasks/${encodeURIComponent(value)}` }, `…${value.slice(-8)}`))
  }
  return make('span', label, value)
}

/** Content that is read when it is unfolded; JSON text, or nothing once it was erased. */
function folded(title, read) {
  const place = make('div')
  const details = make('details', make('summary', title), place)
  details.addEventListener('toggle', async () => {
    if (!details.open || place.hasChildNodes()) return
    try {
      const text = await read()
      place.replaceChildren(isNothing(text) ? make('p.muted', 'It was erased.') : contentOf(JSON.parse(text)))
    } catch (error) {
      place.replaceChildren(problem(error))
    }
  })
  return details
}

// ---------------------------------------------------------------------------------------------------- acting on a case

function caseActions({ id, status, said }) {
  const isReader = can(...places.cases.roles)
  // Operators do not see how a case stands; the service tells them what does not fit.
  const canRetry = can('operator') && [undefined, 'failed'].includes(status)
  const canCancel = can('operator') && [undefined, 'running', 'suspended'].includes(status)
  return make(
    'div.buttons',
    isReader && action('Verify', said, async () => verdict(await get(pathOf('cases', id, '/verify')))),
    isReader && action('Export', said, () => exportCase(id)),
    canRetry && action('Retry', said, async () => acted(await post(pathOf('cases', id, '/retry'), {}))),
    canCancel && element('button', { type: 'button', onclick: () => cancelCase(id, said) }, 'Cancel case'),
  )
}

function cancelCase(id, said) {
  const hint = 'The case ends without an outcome, and its open tasks are withdrawn.'
  ask({ title: 'Cancel this case?', hint, label: 'Reason', isLong: true, verb: 'Cancel the case' }, async (reason) => {
    said.replaceChildren(acted(await post(pathOf('cases', id, '/cancel'), { reason })))
  })
}

function acted({ status }) {
  void refreshView()
  return make('p.notice', 'The case is ', statusOf({ status }), '.')
}

async function exportCase(id) {
  const response = await request(pathOf('cases', id, '/export'))
  const url = URL.createObjectURL(await response.blob())
  const file = `case-${id}.json`
  element('a', { href: url, download: file }).click()
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
  return make(
    'p.notice',
    `Saved as ${file}. Anybody can check it with Node alone: `,
    make('code', `node tools/verify-export.mjs ${file}`),
  )
}

function verdict(report) {
  const { valid, events, checkpoints, payloads, erased_payloads: erased, head } = report
  const counted = `${events} events, ${checkpoints} checkpoints, ${payloads} payloads, ${erased} of them erased. `
  const findings = report.findings.map(({ seq, what, where, detail }) =>
    make('p', seq !== null && `Event ${seq}: `, `${what.replaceAll('_', ' ')}, ${where}. ${detail}`),
  )
  const limits = report.cannot_show.map((item) => make('li', item))
  return make(
    valid ? 'div.notice.good' : 'div.notice.bad',
    make('p', make('strong', valid ? 'The record is whole.' : 'The record is not what was written.')),
    make('p', counted, head && [`Head ${head.seq}: `, copyable(head.hash)]),
    findings,
    make('p', 'What no check of it can show:'),
    make('ul', limits),
  )
}

/** For operators, who move cases by their ids without seeing them. */
function caseFinder() {
  const id = element('input', { id: 'case-id', required: true, spellcheck: 'false', autocomplete: 'off', size: 38 })
  const fields = [element('label', { for: 'case-id' }, 'Case id'), id]
  return formOf({ label: 'Go to the case', fields }, () => {
    location.hash = `#/cases/${encodeURIComponent(id.value.trim())}`
  })
}

function operatorDesk(id) {
  const said = element('div', { role: 'status' })
  return make('div', make('p.note', copyable(id, id)), caseActions({ id, said }), said)
}

// ---------------------------------------------------------------------------------------------------- tasks

function taskList({ root, params, signal }) {
  const list = make('div')
  const queue = make('span.slot')
  root.append(
    make(
      'div.head',
      heading('Tasks'),
      filter({ name: 'status', label: 'Show', values: ['decided'], all: 'open', params }),
      queue,
    ),
    list,
  )
  const [first, last] = params.get('status') === 'decided' ? ['Decided', 'By'] : ['Due', 'Claimed by']
  const table = tableOf([first, 'Why', 'Tier', 'Queue', 'Submitted by', last, 'Id'])
  return {
    title: 'Tasks',
    concerns: () => true,
    async refresh() {
      const { items, next_cursor: next } = await get(`/v1/tasks?${params}`, signal)
      const queues = [...new Set([...openTasks.items, ...items].map((task) => task.queue))].sort()
      showOne(queue, queues, (values) => filter({ name: 'queue', label: 'Queue', values, params }))
      showAll(table.rows, items, (item) => item.task_id, taskRow)
      const pages = pager({ params, next, words: ['Most urgent', 'Next'] })
      arrange(list, items.length > 0 ? [table.node, pages] : [noTasks(params)])
    },
  }
}

function taskRow(task) {
  const { task_id: id, decision } = task
  const first = decision === null ? [dueOf(task)] : [decision, make('span.muted', timeOf(task.decided_at_ms))]
  const href = `#/tasks/${id}`
  const cells = [
    ['due', ...first],
    ['name', element('a', { href }, task.because)],
    ['level', tierOf(task.tier)],
    ['queue', task.queue],
    ['by', actorOf(task.submitted_by)],
    ['by', actorOf(decision === null ? holderOf(task) : task.decided_by)],
    ['id', copyable(id)],
  ]
  return rowOf(cells, { href })
}

function dueOf({ due_at_ms: dueMs, escalated_at_ms: escalatedMs }) {
  return make('span', timeOf(dueMs, { isDue: true }), escalatedMs !== null && make('b.flag', 'escalated'))
}

/** Who has claimed the task, as long as the claim lasts. */
function holderOf({ claimed_by: holder, claimed_until_ms: untilMs }) {
  return holder !== null && untilMs > Date.now() ? holder : ''
}

function noTasks(params) {
  if (params.size > 0)
    return emptyState('No task is like this.', element('a', { href: '#/tasks' }, 'Show all open tasks'))
  return emptyState(
    'Nothing waits for a person.',
    'A case that needs one appears here by itself. ',
    element('a', { href: '#/cases' }, 'See all cases'),
  )
}

/** All that is needed to decide: the brief to read, and beside it the form. */
function taskView({ root, id, signal }) {
  const head = make('div')
  const why = make('div')
  const input = make('div')
  const steps = stepsSection({ isOpen: true })
  const proposed = make('div')
  const claim = make('div')
  const form = make('div')
  const said = element('div', { role: 'status' })
  root.append(
    head,
    make('div.columns.desk', make('div', why, input, steps.node, proposed), make('aside', said, claim, form)),
  )
  let task
  return {
    title: 'Task',
    concerns: (ids) => task === undefined || ids.includes(task.instance_id),
    async refresh() {
      task = await get(pathOf('tasks', id), signal)
      const { status, tier, because, allowed, escalation_queue: escalation } = task
      this.title = task.case.workflow
      showOne(head, task, taskHead)
      showOne(why, [because, task.case.tier_contributions, task.case.tier], () => whySection(task))
      showOne(input, task.input, inputSection)
      steps.show(task.steps, task.case)
      showOne(proposed, outcomePart(task.case), outcomeSection)
      // Whatever happens to the claim, what somebody has typed stays where it is.
      showOne(claim, [status, holderOf(task), task.claimed_until_ms], () => claimSection(task, said))
      const asked = { id, status, allowed, tier, escalation, proposed: task.case.proposed, barrier: barrierOf(task) }
      showOne(form, asked, () => (status === 'open' ? decisionForm(asked, said) : decisionSection(task)))
    },
  }
}

function taskHead(task) {
  const { case: found, status, queue, escalation_queue: escalation, escalated_at_ms: escalatedMs } = task
  const isOpen = status === 'open'
  const isMoving = isOpen && escalatedMs === null && queue !== escalation
  return make(
    'div',
    make(
      'div.head',
      heading(found.workflow, make('span.muted', ` · ${found.domain}`)),
      tierOf(task.tier),
      !isOpen && make('span.status', status),
      isOpen && element('button.jump', { type: 'button', onclick: goToDecision }, 'Go to the decision'),
    ),
    factsOf('dl.facts.line', [
      ['due', isOpen && dueOf(task)],
      ['proposes', resultInWords({ ...found, outcome: null, status: '' })],
      ['case', element('a', { href: `#/cases/${task.instance_id}` }, statusOf({ ...found, in_doubt: null }))],
      ['submitted', [timeOf(found.submitted_at_ms), ' by ', actorOf(task.submitted_by)]],
      ['queue', isMoving ? [queue, make('span.muted', `, then ${escalation}`)] : queue],
      ['not by', task.barred.map(actorOf)],
      ['task', copyable(task.task_id)],
    ]),
  )
}

/** In a narrow window the form stands below all that is to be read. */
function goToDecision() {
  document.querySelector('aside').scrollIntoView()
}

function whySection({ because, case: found }) {
  return section('Why a person decides', make('p.because', because), contributionsOf(found))
}

function inputSection(input) {
  return section('What was submitted', input === null ? make('p.muted', 'It was erased.') : contentOf(input))
}

/** Why this caller may not decide this task, whatever happens to it; undefined when they may. */
function barrierOf({ submitted_by: submitter, barred }) {
  if (!can('reviewer')) return 'Reviewers decide tasks; you may read them.'
  if (isMe(submitter)) return 'You have submitted this case. Who submits a case does not decide it.'
  if (barred.some(isMe)) return 'You have passed this case on. Who passes a case on does not decide it.'
  return undefined
}

/** Whether a name is the caller's, however it is spelled: as the service compares them. */
function isMe(actor) {
  return nameOf(actor) === nameOf(me.actor)
}

function nameOf(actor) {
  const name = actor.replace(/^(unverified:\s*)+/, '')
  return name.normalize('NFKC').toLowerCase()
}

function claimSection(task, said) {
  const { task_id: id, status, claimed_until_ms: untilMs } = task
  const holder = holderOf(task)
  if (status !== 'open') return make('div')
  if (holder !== '' && !isMe(holder)) {
    const until = exactTimeOf(untilMs)
    return make(
      'p.notice.attention',
      actorOf(holder),
      ' has claimed this task and alone can decide it until ',
      until,
      '.',
    )
  }
  if (barrierOf(task) !== undefined) return make('div')
  const button = action(holder === '' ? 'Claim for 15 minutes' : 'Claim anew', said, async () => {
    await post(pathOf('tasks', id, '/claim'), {})
    await refreshView()
  })
  const words = holder === '' ? 'Others cannot decide it meanwhile.' : ['Yours until ', exactTimeOf(untilMs)]
  return make('div.claim', button, make('span.muted', words))
}

function decisionSection(task) {
  if (task.status === 'withdrawn')
    return make('p.notice', 'Withdrawn: the case was canceled, and nothing is left to decide.')
  return section(
    'Decided',
    factsOf('dl.facts', [
      ['decision', make('strong', task.decision)],
      ['by', actorOf(task.decided_by)],
      ['when', timeOf(task.decided_at_ms)],
      ['reason', task.reason === null ? make('span.muted', 'erased') : textOf(task.reason)],
      ['changes', task.changes !== null && contentOf(task.changes)],
    ]),
  )
}

// ---------------------------------------------------------------------------------------------------- deciding

/** What each word does. */
const decisionWords = {
  approve: () => 'The proposed outcome takes effect as it stands.',
  approve_with_changes: () => 'The proposed outcome takes effect with your changes.',
  deny: () => 'The case ends, and nothing takes effect.',
  refer: () => 'Another reviewer decides, at tier hold; you no longer can.',
  release: () => 'The hold ends, and the proposed outcome takes effect as it stands.',
  escalate: (queue) => `Somebody of ${queue} decides; you no longer can.`,
  confirm: () => 'You looked at the case and agree with its outcome.',
  object: () => 'The case is marked as disputed, and another reviewer decides.',
}

function decisionForm({ id, allowed, escalation, proposed, barrier }, said) {
  if (barrier !== undefined) return section('Decision', make('p.notice', barrier))
  const choices = allowed.map((word) =>
    make(
      'label.choice',
      element('input', { type: 'radio', name: 'decision', value: word, required: true }),
      make('strong', word),
      make('span.muted', decisionWords[word]?.(escalation) ?? ''),
    ),
  )
  const changes = changesField(proposed)
  const reason = element('textarea', { id: 'reason', rows: 4, required: true, 'aria-describedby': 'reason-hint' })
  const hint = element('p.muted', { id: 'reason-hint' }, 'Recorded for good: say it so that it is understood in years.')
  const fields = [
    make('fieldset', make('legend', 'Decision'), choices),
    changes.node,
    element('label', { for: 'reason' }, 'Reason'),
    reason,
    hint,
  ]
  const form = formOf({ label: 'Decide', fields }, async () => {
    const word = new FormData(form).get('decision')
    const isChanged = word === 'approve_with_changes'
    // The changes are sent as they were typed, so that the service refuses what reading them here would lose.
    const words = JSON.stringify({ decision: word, reason: reason.value })
    const body = isChanged ? `{"changes":${changes.text()},${words.slice(1)}` : words
    try {
      const decided = await post(pathOf('tasks', id, '/decision'), body)
      said.replaceChildren(decidedNotice(decided))
      await refreshView()
      said.firstElementChild.focus()
    } catch (error) {
      if (error.status !== 409) throw error
      said.replaceChildren(problem(error))
      await refreshView()
    }
  })
  form.addEventListener('change', () => changes.toggle(new FormData(form).get('decision') === 'approve_with_changes'))
  return form
}

/** A merge patch as it is typed, and what the proposed outcome would be with it. */
function changesField(proposed) {
  const input = element('textarea', {
    id: 'changes',
    rows: 5,
    class: 'code',
    spellcheck: 'false',
    value: '{}',
    'aria-describedby': 'changes-problem',
  })
  const wrong = element('p', { id: 'changes-problem', class: 'bad', role: 'status' })
  const preview = make('div')
  const node = element(
    'div.changes',
    { hidden: true },
    element('label', { for: 'changes' }, 'Changes, as a JSON merge patch'),
    input,
    make('p.muted', 'A field replaces its namesake, and null removes it (RFC 7396).'),
    wrong,
    preview,
  )
  function read() {
    const { patch, fault } = readPatch(input.value)
    input.setCustomValidity(node.hidden || fault === undefined ? '' : fault)
    wrong.replaceChildren(...shown(fault ?? ''))
    if (fault !== undefined) return
    const merged = mergePatch(proposed, patch)
    const said = same(merged, proposed) ? 'nothing is changed yet' : 'with your changes'
    preview.replaceChildren(section(['The outcome would be', aside(said)], contentOf(merged, proposed)))
  }
  input.addEventListener('input', read)
  return {
    node,
    text: () => input.value,
    toggle(isShown) {
      node.hidden = !isShown
      read()
    },
  }
}

function readPatch(text) {
  try {
    const patch = JSON.parse(text)
    return isObject(patch) ? { patch } : { fault: 'The changes are an object: {"field": "value"}.' }
  } catch (error) {
    return { fault: `This is no JSON yet: ${error.message}.` }
  }
}

/** RFC 7396, as the service applies it. */
function mergePatch(target, patch) {
  if (!isObject(patch)) return patch
  const merged = new Map(isObject(target) ? Object.entries(target) : [])
  for (const [name, part] of Object.entries(patch)) {
    if (part === null) merged.delete(name)
    else merged.set(name, mergePatch(merged.get(name), part))
  }
  return Object.fromEntries(merged)
}

function decidedNotice({ decision, status, repeated, instance_id: instanceId, opened_task_id: openedId }) {
  return element(
    'div.notice.good',
    { tabindex: '-1' },
    make('p', repeated ? 'Decided before, in the same words: ' : 'Decided: ', make('strong', decision), '.'),
    make('p', element('a', { href: `#/cases/${instanceId}` }, 'The case'), ' is ', statusOf({ status }), '.'),
    openedId !== null &&
      make('p', 'Another person decides ', element('a', { href: `#/tasks/${openedId}` }, 'a new task'), '.'),
    make('p', element('a', { href: '#/tasks' }, 'To the open tasks')),
  )
}

// ---------------------------------------------------------------------------------------------------- pieces

const heading = (...words) => element('h1', { tabindex: '-1' }, words)

const section = (title, ...content) => make('section', make('h2', title), content)

const aside = (words) => make('span.aside', words)

const statusHints = {
  suspended: 'held until a person has decided',
  terminated: 'denied by a person',
}

function statusOf({ status, disputed, in_doubt: inDoubt }) {
  return element(
    'span.status',
    { 'data-status': status, title: statusHints[status] },
    status,
    disputed && make('b.flag', 'disputed'),
    inDoubt && make('b.flag', 'in doubt'),
  )
}

/** A name; one that nobody has vouched for says so before it, and may be broken there. */
function actorOf(name) {
  const [, mark, rest] = /^(unverified:)?(.*)$/s.exec(name ?? '')
  return mark === undefined ? rest : make('span', make('span.muted', mark), make('wbr'), rest)
}

const tiers = ['auto', 'spot_check', 'gate', 'hold']

/** A tier with its height: how much a person has to do. */
function tierOf(tier) {
  if (!tier) return ''
  const bars = tiers.map((_, index) => element('i', { class: index <= tiers.indexOf(tier) && 'on' }))
  return element('span.tier', { 'data-tier': tier }, element('span.bars', { 'aria-hidden': 'true' }, bars), tier)
}

function tableOf(titles) {
  const rows = make('tbody')
  const heads = titles.map((title) => element('th', { scope: 'col' }, title))
  return { node: make('div.table', make('table', make('thead', make('tr', heads)), rows)), rows }
}

/** One row; where it leads, all of it does, and not only its link. */
function rowOf(cells, { href, kind = href ? 'tr.leads' : 'tr' } = {}) {
  const row = make(kind)
  for (const [name, ...content] of cells) row.append(make(`td.${name}`, content))
  if (href === undefined) return row
  row.addEventListener('click', ({ target }) => {
    if (!target.closest('a, button') && getSelection().isCollapsed) location.hash = href
  })
  return row
}

function factsOf(kind, pairs) {
  const given = pairs.filter(([, value]) => !isNothing(value) && value.length !== 0)
  const fields = given.map(([name, value]) => make('div', make('dt', name), make('dd', value)))
  return make(kind, fields)
}

function emptyState(sentence, ...more) {
  return make('div.empty', make('p', make('strong', sentence)), more)
}

/** A choice among values that stands in the address, so that it can be linked to and gone back from. */
function filter({ name, label, values, all = 'all', params }) {
  const chosen = params.get(name) ?? ''
  const known = chosen === '' || values.includes(chosen) ? values : [...values, chosen]
  const select = element(
    'select',
    { id: `filter-${name}` },
    element('option', { value: '' }, all),
    known.map((value) => element('option', { value, selected: value === chosen }, value)),
  )
  select.addEventListener('change', () => {
    const next = new URLSearchParams(params)
    next.delete('cursor')
    next.delete(name)
    if (select.value !== '') next.set(name, select.value)
    location.hash = hashWith(next)
  })
  return make('label.filter', label, select)
}

function hashWith(params) {
  const [path] = location.hash.split('?')
  return params.size > 0 ? `${path}?${params}` : path
}

function pager({ params, next, words: [first, further] }) {
  const to = (cursor) => {
    const there = new URLSearchParams(params)
    if (cursor === undefined) there.delete('cursor')
    else there.set('cursor', cursor)
    return hashWith(there)
  }
  const links = [
    params.has('cursor') && element('a', { href: to(undefined) }, first),
    next !== null && element('a', { href: to(next) }, further),
  ]
  return element('nav.pager', { 'aria-label': 'Pages' }, links)
}

/** A text whose end is shown, and which a click copies whole. */
function copyable(text, words = `…${text.slice(-8)}`) {
  const button = element(
    'button',
    { type: 'button', class: 'copy', title: `Copy ${text}`, 'aria-label': `Copy ${text}` },
    words,
  )
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text)
      button.dataset.copied = ''
      await pause(1200)
      delete button.dataset.copied
    } catch {
      // Without TLS, or without leave, a page may not copy; the text whole and selected is the next best.
      button.replaceChildren(...shown(text))
      getSelection().selectAllChildren(button)
    }
  })
  return button
}

/** A button that acts; what comes of it, or what it was refused with, is said in its place. */
function action(label, said, act) {
  const button = element('button', { type: 'button' }, label)
  button.addEventListener('click', async () => {
    button.disabled = true
    said.replaceChildren()
    try {
      const result = await act()
      if (result) said.replaceChildren(result)
    } catch (error) {
      if (error.status === 401) report(error)
      else said.replaceChildren(problem(error))
    }
    button.disabled = false
  })
  return button
}

/** A form that acts when it is sent, and shows what it was refused with. */
function formOf({ label, fields }, act, refusal) {
  const said = make('div', refusal && problem(refusal))
  const button = element('button.primary', { type: 'submit' }, label)
  const form = make('form', fields, said, make('div.buttons', button))
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    button.disabled = true
    said.replaceChildren()
    try {
      await act()
    } catch (error) {
      if (error.status === 401 && me) report(error)
      else said.replaceChildren(problem(error))
      said.scrollIntoView({ block: 'nearest' })
    }
    button.disabled = false
  })
  return form
}

/** Asks for one text; what `act` is refused with is shown there, and the text can be corrected. */
function ask({ title, hint, label, value = '', isLong = false, verb }, act) {
  const dialog = byId('dialog')
  const input = element(isLong ? 'textarea' : 'input', {
    id: 'asked',
    required: true,
    value,
    ...(isLong && { rows: 3 }),
  })
  const fields = [make('p.muted', hint), element('label', { for: 'asked' }, label), input]
  const form = formOf({ label: verb, fields }, async () => {
    await act(input.value.trim())
    dialog.close()
  })
  form.lastElementChild.append(element('button', { type: 'button', onclick: () => dialog.close() }, 'Leave it'))
  dialog.replaceChildren(element('h2', { id: 'dialog-title' }, title), form)
  dialog.showModal()
}

function problem(error) {
  if (!(error instanceof Refusal)) console.error(error)
  const { detail = String(error), remedy, code, decision, holder, claimed_until: until, request_id: requestId } = error
  return element(
    'div.notice.bad',
    { role: 'alert' },
    make('p', make('strong', detail)),
    decision && make('p', 'That was ', timeOf(decision.decided_at_ms), '.'),
    holder && make('p', 'Here that is ', exactTimeOf(Date.parse(until)), '.'),
    remedy && make('p', remedy),
    make('p.reference', dotted([code, requestId && `request ${requestId}`])),
  )
}

// ---------------------------------------------------------------------------------------------------- values

/** JSON as people read it. With `before`, what differs from it is marked. */
function contentOf(value, before, nesting = 0) {
  if (typeof value === 'string' && value !== '') return textOf(value)
  if (value === null || typeof value !== 'object') return literal(JSON.stringify(value))
  const names = [...new Set([...Object.keys(value), ...Object.keys(isObject(before) ? before : {})])]
  if (names.length === 0) return literal(JSON.stringify(value))
  if (nesting === maxNesting) return make('pre', JSON.stringify(value, undefined, 2))
  if (isObject(value)) return bounded('dl', names, (name) => fieldOf(name, { value, before, nesting }))
  const isShort = !value.some((item) => item instanceof Object) && JSON.stringify(value).length < longTextCharacters / 4
  return bounded(isShort ? 'ol.short' : 'ol', value, (item) => make('li', contentOf(item, undefined, nesting + 1)))
}

function fieldOf(name, { value, before, nesting }) {
  const now = ownField(value, name)
  const was = isObject(before) ? ownField(before, name) : undefined
  const change = isObject(before) ? changeOf(now, was) : undefined
  return make(
    change ? `div.${change}` : 'div',
    make('dt', name, change && make('b.flag', change)),
    make('dd', contentOf(now === undefined ? was : now, isObject(now) && isObject(was) ? was : undefined, nesting + 1)),
  )
}

function changeOf(now, was) {
  if (was === undefined) return 'added'
  if (now === undefined) return 'removed'
  // Of two objects each field is told by itself.
  return same(now, was) || (isObject(now) && isObject(was)) ? undefined : 'changed'
}

const ownField = (object, name) => (Object.hasOwn(object, name) ? object[name] : undefined)

const literal = (text) => make('span.literal', text)

/** As many entries as can be looked through; the others on demand. */
function bounded(kind, items, build) {
  const list = make(kind)
  const add = (from) => {
    const to = from + maxEntries
    list.append(...items.slice(from, to).map(build))
    if (to >= items.length) return
    const more = element('button.quiet', { type: 'button' }, `Show more: ${items.length - to} are left`)
    const place = make(kind === 'dl' ? 'div' : 'li', more)
    more.addEventListener('click', () => {
      place.remove()
      add(to)
    })
    list.append(place)
  }
  add(0)
  return list
}

/** A text with its lines; a long one begins folded. */
function textOf(text) {
  const block = make(text.includes('\n') ? 'div.text' : 'span.text', text)
  if (text.length < longTextCharacters && text.split('\n').length < longTextLines) return block
  const toggle = element('button.quiet', { type: 'button', 'aria-expanded': 'false' })
  const words = () => `Show all ${text.length.toLocaleString('en')} characters`
  toggle.textContent = words()
  block.classList.add('folded')
  toggle.addEventListener('click', () => {
    const isFolded = block.classList.toggle('folded')
    toggle.setAttribute('aria-expanded', String(!isFolded))
    toggle.textContent = isFolded ? words() : 'Show less'
  })
  return make('div', block, toggle)
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b)
}

// ---------------------------------------------------------------------------------------------------- times

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
const exact = new Intl.DateTimeFormat('en-CA', {
  year: 'numeric',
  month: '2-digit',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
})
const zone = new Intl.DateTimeFormat('en', { timeZoneName: 'long' })
  .formatToParts()
  .find(({ type }) => type === 'timeZoneName').value
const units = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
]

/** A moment as seen from now, with the exact local time behind it; what is due says when it is overdue. */
function timeOf(ms, { isDue = false } = {}) {
  const time = element('time', { datetime: new Date(ms).toISOString(), title: `${localTime(ms)}, ${zone}` })
  time.dataset.ms = ms
  if (isDue) time.dataset.due = ''
  tickTime(time)
  return time
}

function exactTimeOf(ms) {
  return element('time', { datetime: new Date(ms).toISOString(), title: zone }, localTime(ms))
}

function localTime(ms) {
  return exact.format(ms).replace(',', '')
}

function tickTime(time) {
  const aheadMs = Number(time.dataset.ms) - Date.now()
  const [unit, size] = units.find(([, size]) => Math.abs(aheadMs) >= size) ?? units.at(-1)
  const words = relative.format(Math.round(aheadMs / size), unit)
  const isOverdue = 'due' in time.dataset && aheadMs < 0
  time.classList.toggle('overdue', isOverdue)
  time.textContent = isOverdue ? `${words}, overdue` : words
}

function tickTimes() {
  for (const time of document.querySelectorAll('time[data-ms]')) tickTime(time)
}

const dotted = (words) => words.filter(Boolean).join(' · ')

function durationInWords(ms) {
  return ms < 1_000 ? `${ms} ms` : `${(ms / 1_000).toFixed(1)} s`
}

const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal?.addEventListener('abort', () => resolve(clearTimeout(timer)), { once: true })
  })

/** How long to wait before asking again: longer each time, and not everybody at once. */
function backoff(failures) {
  return Math.min(1000 * 2 ** failures, maxBackoffMs) * (0.75 + Math.random() / 2)
}

/** Acts at once, and again after the pause if it was asked to meanwhile; never twice at a time. */
function atMostEvery(ms, act) {
  let isBusy = false
  let isAsked = false
  return async () => {
    isAsked = true
    if (isBusy) return
    isBusy = true
    while (isAsked) {
      isAsked = false
      await Promise.all([act(), pause(ms)])
    }
    isBusy = false
  }
}

// ---------------------------------------------------------------------------------------------------- elements

/**
 * The one way into the page: an element (`p.muted`: with a class), its attributes and listeners (`onclick`), and its
 * children, of which every text stays a text.
 */
function element(kind, properties, ...children) {
  const [tag, ...classes] = kind.split('.')
  const node = document.createElement(tag)
  if (classes.length > 0) node.className = classes.join(' ')
  const { value, ...attributes } = properties
  for (const [name, setting] of Object.entries(attributes)) {
    if (isNothing(setting)) continue
    if (name.startsWith('on')) node.addEventListener(name.slice(2), setting)
    else node.setAttribute(name, setting === true ? '' : visible(String(setting)))
  }
  for (const child of children.flat(Infinity)) {
    if (!isNothing(child)) node.append(...(child instanceof Node ? [child] : shown(String(child))))
  }
  if (value !== undefined) node.value = value
  return node
}

/** The same without attributes. */
const make = (kind, ...children) => element(kind, {}, ...children)

const isNothing = (value) => value === undefined || value === null || value === false

/** Whatever shows as nothing or changes how its neighbours are read, but for line breaks, tabs and the look of emoji. */
const unseen = /((?![\n\t\ufe0e\ufe0f])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}])/u

/** A text as nodes: what cannot be seen is an escape, set apart from one that somebody typed. */
function shown(text) {
  const parts = text.replaceAll('\r\n', '\n').split(unseen)
  return parts.map((part, index) => {
    if (index % 2 === 0) return document.createTextNode(part)
    const mark = document.createElement('span')
    mark.className = 'escape'
    mark.textContent = escapeOf(part)
    return mark
  })
}

/** The same where only a text can stand. */
function visible(text) {
  return text
    .split(unseen)
    .map((part, index) => (index % 2 === 0 ? part : escapeOf(part)))
    .join('')
}

function escapeOf(character) {
  const hex = character.codePointAt(0).toString(16)
  return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`
}

const shownIn = new WeakMap()

/** Shows a value for each key, and builds only what has changed. */
function showAll(parent, values, keyOf, build) {
  const before = shownIn.get(parent) ?? new Map()
  const now = new Map()
  for (const value of values) {
    const key = keyOf(value)
    const json = JSON.stringify(value)
    const known = before.get(key)
    now.set(key, known?.json === json ? known : { json, node: build(value) })
  }
  shownIn.set(parent, now)
  const nodes = [...now.values()].map(({ node }) => node)
  arrange(parent, nodes)
}

const showOne = (parent, value, build) => showAll(parent, [value], () => 'one', build)

/** Makes these the children of the parent, and does not move one that is in its place already. */
function arrange(parent, nodes) {
  const focusedId = document.activeElement?.id
  const wanted = new Set(nodes)
  for (const node of [...parent.childNodes]) if (!wanted.has(node)) node.remove()
  nodes.forEach((node, index) => {
    if (parent.childNodes[index] !== node) parent.insertBefore(node, parent.childNodes[index] ?? null)
  })
  if (focusedId && document.activeElement === document.body) byId(focusedId)?.focus({ preventScroll: true })
}

void start()
