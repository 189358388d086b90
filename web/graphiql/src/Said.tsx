import { useCallback, useEffect, useState, type ReactNode } from 'react'

/** Said is a status that moves nothing where it changes: it has the room of another text too. */
export function Said({ room, className, children }: { room: string; className: string; children: ReactNode }) {
  return (
    <p className={`said ${className}`}>
      <span role="status">{children}</span>
      <span aria-hidden="true">{room}</span>
    </p>
  )
}

/** useSaid is a word about what was done, which goes by itself. */
export function useSaid(): [said: string, say: (text: string) => void] {
  const [said, setSaid] = useState({ text: '' }) // an object: the same may be said again
  useEffect(() => {
    if (!said.text) return
    const timer = setTimeout(() => setSaid({ text: '' }), 8000)
    return () => clearTimeout(timer)
  }, [said])
  return [said.text, useCallback((text) => setSaid({ text }), [])]
}
