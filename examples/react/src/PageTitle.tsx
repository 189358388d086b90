import { type ReactNode, useEffect, useRef } from 'react'

let first = true

// PageTitle takes the focus when its page appears, as a new document would, but not
// when the first one does. The document's title has nobody's name: browsers keep it.
export function PageTitle({ title, children }: { title: string, children?: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    if (!first) heading.current?.focus()
    first = false
  }, [])
  useEffect(() => { document.title = `${title} · PatientGraph` }, [title])
  return <h1 ref={heading} tabIndex={-1}>{children ?? title}</h1>
}
