import { useSyncExternalStore } from 'react'

// Routes stand behind #: no server sees them, and none has to know them.
export const listPath = '#/'
export const profilePath = (id: string) => `#/patients/${encodeURIComponent(id)}`

function subscribe(changed: () => void) {
  addEventListener('hashchange', changed)
  return () => removeEventListener('hashchange', changed)
}

// usePatientID is the patient of the profile page; null on the list.
export function usePatientID(): string | null {
  const hash = useSyncExternalStore(subscribe, () => location.hash)
  const id = hash.match(/^#\/patients\/(.+)$/)?.[1]
  try {
    return id ? decodeURIComponent(id) : null
  } catch {
    return null // somebody's own %
  }
}
