import { useEffect } from 'react'
import { languageVar } from './session'
import { words } from './words'

// What tells of each open form whether it holds something that is not saved.
const forms = new Set<() => boolean>()

export function useUnsaved(check: () => boolean) {
  useEffect(() => {
    forms.add(check)
    return () => void forms.delete(check)
  })
}

const unsaved = () => [...forms].some(check => check())

// mayLeave asks before what was typed is thrown away.
export const mayLeave = (question: 'leave' | 'leaveToOther' = 'leave') => !unsaved() || confirm(words[languageVar()][question])

// abandon asks no more of what is open now.
export const abandon = () => forms.clear()

addEventListener('beforeunload', event => { if (unsaved()) event.preventDefault() })
