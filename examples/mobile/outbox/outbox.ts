// An outbox: contact changes that a user saves, offline or not, reach the hospital once
// and in order, whatever breaks on the way. The rules are in ../README.md; they are the
// same in Kotlin or Swift.

/** A change of one patient, from when the user saved it until its outcome is certain. */
export interface Change {
  /** The idempotencyKey: made once, when the user saves, and sent with every try. */
  key: string
  patientId: string
  /** Patient.version that the user saw. With the key and the fields it stays as it is: another content under the same key is refused. */
  expectedVersion: string
  fields: Fields
  /** Tries since the server last said something that helps. */
  tries: number
  /** Not to be sent again before this time (ms since 1970). */
  notBefore: number
  /** What earlier changes of this outbox have made of the record: a conflict with these alone is one with ourselves. */
  ours: Fields
  /** While it is not known whether it was saved: for contactUpdateSettled, and for what the screen says. */
  operationId?: string
  /** It waits for the user: why. It holds up nothing that was saved later. */
  parked?: Parked
}

/** A field left out stays, null clears it, a value sets it. */
export interface Fields {
  phone?: string | null
  email?: string | null
  address?: Address | null
}

export interface Address {
  text?: string | null
  lines?: string[] | null
  city?: string | null
  district?: string | null
  state?: string | null
  postalCode?: string | null
  country?: string | null
}

/** The fragment Contact, as far as the queue looks at it. */
export interface Contact {
  version: string
  phone: string | null
  email: string | null
  address: Address | null
}

interface Reason {
  code: string
  message: string
}
export interface Conflict extends Reason {
  __typename: 'UpdateConflict'
  retryable: boolean
  conflictingFields: string[]
  current: Contact | null
}
/** Only the user can do something about these. */
export interface Refusal extends Reason {
  __typename: 'InvalidInput' | 'NotPermitted' | 'PatientNotFound' | 'FhirRejected' | 'RequestRefused'
}
export type Parked = Conflict | Refusal

/** The fragment Outcome, as far as the queue looks at it. */
export type Outcome =
  | { __typename: 'UpdatePatientContactSuccess'; patient: Contact }
  | (Reason & { __typename: 'FhirUnavailable'; applied: 'NO' | 'UNKNOWN'; operationId: string; retryAfterSeconds: number | null })
  | Parked

/** What became of one request. */
export type Answer =
  | { outcome: Outcome }
  | { later: 'all' | 'this'; seconds?: number | undefined } // no outcome: the key makes it safe to ask again
  | { signIn: true }

export type Input = Fields & { patientId: string; expectedVersion: string; idempotencyKey: string }
export type Send = (input: Input) => Promise<Answer>

/** Where the changes are kept. One for each user who signs in: a key is its caller's own. */
export interface Storage {
  load(): Promise<Change[]>
  /** All or nothing, and on the disk when it returns. */
  save(changes: Change[]): Promise<void>
}

export interface Options {
  now?: () => number
  random?: () => number
  newKey?: () => string
}

export class Outbox {
  #changes: Change[]
  #storage: Storage
  #send: Send
  #now: () => number
  #random: () => number
  #newKey: () => string
  #saved: Promise<void> = Promise.resolve()
  #flushing: Promise<number | 'sign in' | undefined> | undefined
  #offline = 0 // nothing is sent before this time: nobody answered
  #retryAfter = 0 // likewise: the server asked for it
  #tries = 0
  #signedOut = false

  private constructor(changes: Change[], storage: Storage, send: Send, options: Options) {
    this.#changes = changes
    this.#storage = storage
    this.#send = send
    this.#now = options.now ?? Date.now
    this.#random = options.random ?? Math.random
    this.#newKey = options.newKey ?? (() => crypto.randomUUID())
  }

  static async open(storage: Storage, send: Send, options: Options = {}): Promise<Outbox> {
    return new Outbox(await storage.load(), storage, send, options)
  }

  /** All changes, in the order in which they were saved. */
  get changes(): readonly Readonly<Change>[] {
    return this.#changes
  }

  /** Keeps a change. Only when this returns may the screen say that it will be sent. */
  async add(patientId: string, expectedVersion: string, fields: Fields): Promise<string> {
    const change: Change = { key: this.#newKey(), patientId, expectedVersion, fields, tries: 0, notBefore: 0, ours: {} }
    this.#changes.push(change)
    try {
      await this.#save()
    } catch (error) { // the disk is full: the user must know
      this.#drop(change)
      throw error
    }
    return change.key
  }

  /** The user gives a change up, or has made another one of it. What was sent and is not settled cannot be taken back. */
  async discard(key: string): Promise<void> {
    const change = this.#changes.find(c => c.key === key)
    if (!change?.parked) throw new Error('only a parked change can be given up')
    this.#drop(change)
    await this.#save()
  }

  /** The user has seen the record as it is now, and wants the own values all the same. */
  async overwrite(key: string): Promise<void> {
    const change = this.#changes.find(c => c.key === key)
    if (change?.parked?.__typename !== 'UpdateConflict' || !change.parked.current) throw new Error('only a conflict can be overwritten')
    this.#rebase(change, change.parked.current)
    await this.#save()
  }

  /** Call it when the network is back, or contactUpdateSettled has told of one: nothing waits any longer but for a server that asked us to. */
  wake(): void {
    this.#offline = 0
    for (const change of this.#changes) change.notBefore = 0
  }

  /**
   * Sends what may be sent. Call it at start, after add, and at the time that it returns;
   * undefined: nothing waits; 'sign in': the token was refused, call it once there is a new one.
   */
  flush(): Promise<number | 'sign in' | undefined> {
    return (this.#flushing ??= this.#flush().finally(() => { this.#flushing = undefined }))
  }

  async #flush(): Promise<number | 'sign in' | undefined> {
    this.#signedOut = false
    const patients = new Set(this.#changes.map(c => c.patientId))
    await Promise.all([...patients].map(id => this.#flushPatient(id)))
    if (this.#signedOut) return 'sign in'
    const heads = [...patients].map(id => this.#next(id)).filter(c => c !== undefined)
    return heads.length ? Math.min(...heads.map(c => this.#due(c))) : undefined
  }

  /** The changes of a patient go one after the other; other patients do not wait for them. */
  async #flushPatient(patientId: string): Promise<void> {
    for (;;) {
      const change = this.#next(patientId)
      if (!change || this.#signedOut || this.#due(change) > this.#now()) return
      const { key, expectedVersion, fields } = change
      await this.#take(change, await this.#send({ ...fields, patientId, expectedVersion, idempotencyKey: key }))
    }
  }

  #next(patientId: string): Change | undefined {
    return this.#changes.find(c => c.patientId === patientId && !c.parked)
  }

  #due(change: Change): number {
    return Math.max(change.notBefore, this.#offline, this.#retryAfter)
  }

  async #take(change: Change, answer: Answer): Promise<void> {
    if ('signIn' in answer) {
      this.#signedOut = true
      return
    }
    if ('later' in answer) {
      const all = answer.later === 'all'
      const until = this.#now() + this.#pause(answer.seconds, all ? this.#tries++ : change.tries++)
      if (!all) change.notBefore = until
      else if (answer.seconds === undefined) this.#offline = until
      else this.#retryAfter = until
    } else {
      this.#tries = 0
      this.#settle(change, answer.outcome)
    }
    await this.#save()
  }

  #settle(change: Change, outcome: Outcome): void {
    switch (outcome.__typename) {
      case 'UpdatePatientContactSuccess':
        return this.#done(change, outcome.patient)
      case 'FhirUnavailable': // with the same key again: it tells how it ended, or writes it now
        if (outcome.applied === 'UNKNOWN') change.operationId = outcome.operationId
        else delete change.operationId
        change.notBefore = this.#now() + this.#pause(outcome.retryAfterSeconds ?? undefined, change.tries++)
        return
      case 'UpdateConflict':
        return this.#conflict(change, outcome)
      default:
        delete change.operationId
        change.parked = outcome
    }
  }

  #conflict(change: Change, conflict: Conflict): void {
    const { current } = conflict
    if (current && namesOf(change.fields).every(name => holds(current[name], change.fields[name]))) {
      this.#done(change, current) // the record is as the user wants it: most likely by a try whose key was forgotten
    } else if (conflict.retryable) {
      change.notBefore = this.#now() + this.#pause(undefined, change.tries++)
    } else if (current && conflict.conflictingFields.every(name => isName(name) && name in change.ours && holds(current[name], change.ours[name]))) {
      this.#rebase(change, current)
    } else {
      delete change.operationId
      change.parked = conflict
    }
  }

  /** The record has the values: the later changes of the patient were made by whoever made them. */
  #done(change: Change, record: Contact): void {
    const ours = Object.fromEntries(namesOf(change.fields).map(name => [name, record[name]]))
    this.#drop(change)
    for (const later of this.#changes) {
      if (later.patientId === change.patientId) later.ours = { ...later.ours, ...ours }
    }
  }

  /** The same values on top of the record as it is now: another content, so another key. */
  #rebase(change: Change, current: Contact): void {
    change.key = this.#newKey()
    change.expectedVersion = current.version
    change.notBefore = change.tries = 0
    delete change.operationId
    delete change.parked
  }

  #drop(change: Change): void {
    this.#changes = this.#changes.filter(c => c !== change)
  }

  /** As long as the server says; else 1 s, 2 s, 4 s … 5 min, and half of it by chance, so that not all devices come at once. */
  #pause(seconds: number | undefined, tries: number): number {
    return 1000 * (seconds ?? Math.min(2 ** tries, 300) * (0.5 + this.#random() / 2))
  }

  #save(): Promise<void> {
    return (this.#saved = this.#saved.catch(() => {}).then(() => this.#storage.save(structuredClone(this.#changes))))
  }
}

const names = ['phone', 'email', 'address'] as const
type Name = (typeof names)[number]
const isName = (name: string): name is Name => (names as readonly string[]).includes(name)
const namesOf = (fields: Fields): Name[] => names.filter(name => fields[name] !== undefined)

/** Whether what the record shows is what was asked for, letter by letter. */
function holds(shown: string | Address | null, asked: string | Address | null | undefined): boolean {
  if (shown === null || typeof shown === 'string') return shown === (asked ?? null)
  if (!asked || typeof asked === 'string') return false
  const { text, ...parts } = asked
  const given = Object.values(parts).some(part => part?.length)
  if (!given) return shown.text === text // else the server makes the text of the parts
  return (shown.lines ?? []).join('\n') === (asked.lines ?? []).join('\n') &&
    (['city', 'district', 'state', 'postalCode', 'country'] as const).every(part => (shown[part] ?? null) === (asked[part] ?? null))
}

/** Sends by HTTP; document is ../operations/SaveContact.graphql with its fragments, token is asked for each request. */
export function sender(url: string, document: string, token: () => Promise<string>, language: 'ko' | 'en'): Send {
  return async input => {
    let response: Response
    try {
      response = await fetch(url, {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${await token()}`, 'Content-Type': 'application/json', Accept: 'application/json', 'Accept-Language': language,
        },
        body: JSON.stringify({ query: document, variables: { input } }),
      })
    } catch {
      return { later: 'all' } // offline, or cut off: it may have arrived
    }
    if (response.status === 401) return { signIn: true }
    const body = await response.json().catch(() => undefined)
    const outcome: Outcome | undefined = body?.data?.updatePatientContact
    if (outcome) return { outcome }
    const error = body?.errors?.[0]
    const code: string | undefined = error?.extensions?.code
    const after = Number(response.headers.get('Retry-After')) || error?.extensions?.retryAfterSeconds
    if (code === 'INTERNAL') return { later: 'this', seconds: after } // it may be this record alone
    if (!error || after || response.status === 429 || response.status >= 500) return { later: 'all', seconds: after }
    return { outcome: { __typename: 'RequestRefused', code: code ?? '', message: error.message } } // a fault of the app: it needs an update
  }
}
