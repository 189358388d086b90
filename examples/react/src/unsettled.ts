import { useSyncExternalStore } from 'react'
import type { Change } from './fields'
import type { ContactUpdateState, ProfileFragment } from './generated/operations'

// A change whose end this page does not know yet.
export interface Unsettled {
  patientId: string
  idempotencyKey: string
  operationId?: string // as soon as an answer has told it
  asked?: { change: Change, base: ProfileFragment } // unknown after a reload
  settled?: ContactUpdateState // its end is on the page, and may be closed
}

// What outlives a reload: which patient, which key, which operation, until it is settled.
// Neither what was typed nor the token is kept.
const name = 'patientgraph.unsettled'
const listeners = new Set<() => void>()
let list: Unsettled[] = JSON.parse(sessionStorage.getItem(name) ?? '[]')

function keep(next: Unsettled[]) {
  list = next
  const open = next.filter(one => !one.settled)
    .map(({ patientId, idempotencyKey, operationId }) => ({ patientId, idempotencyKey, operationId }))
  if (open.length) sessionStorage.setItem(name, JSON.stringify(open))
  else sessionStorage.removeItem(name)
  listeners.forEach(changed => changed())
}

const without = (key: string) => list.filter(one => one.idempotencyKey !== key)

export const remember = (change: Unsettled) => keep([...without(change.idempotencyKey), change])
export const forget = (key: string) => keep(without(key))
export const forgetAll = () => keep([])

function subscribe(changed: () => void) {
  listeners.add(changed)
  return () => void listeners.delete(changed)
}

export const useUnsettled = () => useSyncExternalStore(subscribe, () => list)
