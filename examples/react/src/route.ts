import { useSyncExternalStore } from 'react'
import { mayLeave } from './unsaved'

// Routes stand behind #: no server sees them, and none has to know them.
export const profilePath = (id: string) => `#/patients/${encodeURIComponent(id)}`
const searchPath = (search: string) => search ? `#/?${new URLSearchParams({ search })}` : '#/'

const address = () => location.hash || '#/'

interface Page {
  id: string | null // of the profile; null: the list
  search: string // what the list begins with
  visit: number
}

let hash: string // of the page that is shown
let page: Page = { id: null, search: '', visit: 0 }
let list = '#/' // where the list was left
const listeners = new Set<() => void>()

function show() {
  hash = address()
  page = { id: idIn(hash), search: new URLSearchParams(hash.split('?')[1]).get('search') ?? '', visit: page.visit + 1 }
  if (page.id === null) list = searchPath(page.search)
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
export const listPath = () => list

// keepSearch puts what is searched for into the address, for the way back to the list.
export function keepSearch(search: string) {
  if (address() !== hash) return // on the way to another page
  list = hash = searchPath(search)
  if (address() !== hash) history.replaceState(null, '', hash)
}
