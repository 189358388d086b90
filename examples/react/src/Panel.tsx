import { type ReactNode, useEffect, useRef, useState } from 'react'
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

// RetryButton can be pressed once the seconds are over. They are not read aloud one by
// one: the text beside it says how long it takes.
export function RetryButton({ seconds, onPress, isDisabled }: { seconds: number, onPress(): void, isDisabled?: boolean }) {
  const t = useWords()
  const [left, setLeft] = useState(seconds)
  useEffect(() => {
    const until = Date.now() + seconds * 1000
    const timer = setInterval(() => {
      const now = Math.max(0, Math.ceil((until - Date.now()) / 1000))
      setLeft(now)
      if (now === 0) clearInterval(timer)
    }, 250)
    return () => clearInterval(timer)
  }, [seconds])
  return (
    <Button className="button" onPress={onPress} isDisabled={isDisabled || left > 0}>
      {left > 0 ? t.tryAgainIn(left) : t.tryAgain}
    </Button>
  )
}
