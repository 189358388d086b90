import { type ReactNode, useEffect, useMemo, useReducer, useRef } from 'react'
import { Button } from 'react-aria-components'
import { useWords } from './words'

const signs = { good: '✓', bad: '!', wait: '…' }

interface Props {
  tone: keyof typeof signs
  title: string
  page?: boolean // it is about the page, not about a part of it
  focus?: boolean // it is the answer to what the user has just done
  lang?: string // of the server's words in it
  children?: ReactNode
}

// Panel says how something ended, in words; its sign and colour only repeat them.
export function Panel({ tone, title, page, focus, lang, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null)
  const Heading = page ? 'h2' : 'h3'
  useEffect(() => { if (focus) heading.current?.focus() }, [focus])
  return (
    <div className={`panel ${tone}`}>
      <span className="sign" aria-hidden="true">{signs[tone]}</span>
      <div>
        <Heading ref={heading} tabIndex={-1}>{title}</Heading>
        <div lang={lang}>{children}</div>
      </div>
    </div>
  )
}

// useSecondsLeft counts down, anew with each cause.
export function useSecondsLeft(seconds: number, cause?: unknown): number {
  const until = useMemo(() => Date.now() + seconds * 1000, [seconds, cause])
  const [, tick] = useReducer((n: number) => n + 1, 0)
  const left = Math.max(0, Math.ceil((until - Date.now()) / 1000))
  useEffect(() => {
    if (left === 0) return
    const timer = setTimeout(tick, 250)
    return () => clearTimeout(timer)
  })
  return left
}

// RetryButton can be pressed once the seconds are over. They are not read aloud one by
// one: the text beside it says how long it takes.
export function RetryButton({ seconds, onPress }: { seconds: number, onPress(): void }) {
  const t = useWords()
  const left = useSecondsLeft(seconds)
  return (
    <Button className="button" onPress={onPress} isDisabled={left > 0}>
      {left > 0 ? t.tryAgainIn(left) : t.tryAgain}
    </Button>
  )
}
