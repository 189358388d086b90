import { useSyncExternalStore } from 'react'
import { mayLeave } from './unsaved'

// Routes stand behind #: no server sees them, and none has to know them.
export const profilePath = (id: string) => `#/patients/${encodeURIComponent(id)}`
export const listPath = '#/'

const address = () => location.hash || listPath

interface Page {
  id: string | null // of the profile; null: the list
  visit: number
}

let hash: string // of the page that is shown
let page: Page = { id: null, visit: 0 }
const listeners = new Set<() => void>()

function show() {
  hash = address()
  page = { id: idIn(hash), visit: page.visit + 1 }
  listeners.forEach(changed => changed())
}

function idIn(hash: string): string | null {
  const id = hash.match(/^#\/patients\/(.+)$/)?.[1]
  try {
    return id ? decodeURIComponent(id) : null
  } catch {
    return null // somebody's own %
  }
}

show()
addEventListener('hashchange', () => {
  if (mayLeave()) show()
  else history.pushState(null, '', hash) // the page stays, and so does its address
})

function subscribe(changed: () => void) {
  listeners.add(changed)
  return () => void listeners.delete(changed)
}

export const usePage = () => useSyncExternalStore(subscribe, () => page)
