import { type ErrorLike } from '@apollo/client'
import { useMutation } from '@apollo/client/react'
import { useRef, useState } from 'react'
import { mayHaveBegun } from './errors'
import type { Change } from './fields'
import {
  UpdateContactDocument, type UpdateContactMutation, UpdateProfileDocument, type UpdateProfileMutation, type ProfileFragment,
} from './generated/operations'
import { type Language, languageVar } from './session'
import { forget, remember } from './unsettled'

export type Answer = UpdateContactMutation['updatePatientContact'] | UpdateProfileMutation['updatePatientProfile']
export type Conflict = Extract<Answer, { __typename: 'UpdateConflict' }>

// A Save sends changes of one patient. answer and error are those of the last one.
export interface Save {
  send(change: Change, base: ProfileFragment): Promise<Answer | undefined>
  reset(): void
  asked?: Change // what the last one asked for
  answer?: Answer
  error?: ErrorLike
  sending: boolean
  language: Language // of the answer's messages
}

export function useContactSave(patientId: string): Save {
  const [mutate, { data, error, loading, reset }] = useMutation(UpdateContactDocument)
  const [language, setLanguage] = useState(languageVar())
  const [asked, setAsked] = useState<Change>()
  const last = useRef({ content: '', key: '' })

  async function send(change: Change, base: ProfileFragment) {
    const input = { patientId, ...change, expectedVersion: base.version }
    const content = JSON.stringify(input)
    // The same content again, while it has not ended, is a retry and is written once at most.
    if (content !== last.current.content) last.current = { content, key: crypto.randomUUID() }
    const idempotencyKey = last.current.key
    const sent = { patientId, idempotencyKey, asked: { change, base } }
    setLanguage(languageVar())
    setAsked(change)
    remember(sent)
    try {
      const { data } = await mutate({ variables: { input: { ...input, idempotencyKey } } })
      const answer = data!.updatePatientContact
      const unknown = answer.__typename === 'FhirUnavailable' && answer.applied === 'UNKNOWN'
      if (unknown) remember({ ...sent, operationId: answer.operationId })
      else forget(idempotencyKey)
      // What has ended is remembered there under its key: to ask again is a new change.
      if (unknown || !('retryable' in answer && answer.retryable)) last.current = { content: '', key: '' }
      return answer
    } catch (error) { // the hook has it too
      if (!mayHaveBegun(error as ErrorLike)) forget(idempotencyKey)
    }
  }
  return { send, reset, asked, answer: data?.updatePatientContact, error, sending: loading, language }
}

// useProfileSave needs no key: nothing of it goes to the FHIR server.
export function useProfileSave(patientId: string): Save {
  const [mutate, { data, error, loading, reset }] = useMutation(UpdateProfileDocument)
  const [language, setLanguage] = useState(languageVar())
  const [asked, setAsked] = useState<Change>()

  async function send({ emergencyContact }: Change, base: ProfileFragment) {
    setLanguage(languageVar())
    setAsked({ emergencyContact })
    try {
      const { data } = await mutate({ variables: { input: { patientId, emergencyContact, expectedVersion: base.version } } })
      return data!.updatePatientProfile
    } catch { /* the hook has it */ }
  }
  return { send, reset, asked, answer: data?.updatePatientProfile, error, sending: loading, language }
}
