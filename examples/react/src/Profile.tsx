import { useQuery, useReactiveVar, useSubscription } from '@apollo/client/react'
import { homeOf, type Viewer } from './account'
import { ContactCard, EmergencyCard } from './Card'
import { PatientChangedDocument, PatientDocument } from './generated/operations'
import { RequestFailed } from './Outcome'
import { PageTitle } from './PageTitle'
import { Panel } from './Panel'
import { listPath, profilePath } from './route'
import { languageVar, tokenVar } from './session'
import { SyncMark } from './SyncMark'
import { useWords } from './words'

export function Profile({ id, viewer }: { id: string, viewer: Viewer }) {
  const t = useWords()
  const signedIn = useReactiveVar(tokenVar) !== null
  const { data, error, loading, refetch } = useQuery(PatientDocument, { variables: { id }, fetchPolicy: 'cache-and-network' })
  const patient = data?.patient
  // Apollo's cache takes each change; only that there is no record any more is seen here.
  const { data: change } = useSubscription(PatientChangedDocument, { variables: { id }, skip: !signedIn || !patient })
  const deleted = change?.patientChanged === null
  const format = new Intl.DateTimeFormat(useReactiveVar(languageVar), { dateStyle: 'medium', timeStyle: 'short' })

  const title = t.listTitle(viewer.role)
  const home = homeOf(viewer)
  const back = id !== home && <nav aria-label={title}><a href={listPath}>← {title}</a></nav>
  const failed = error && <RequestFailed error={error} retry={() => void refetch().catch(() => {})} />
  if (!patient) {
    return (
      <>
        {back}
        <PageTitle title={data ? t.notFoundTitle : t.profileTitle} />
        {failed}
        <p role="status">{data ? t.notFound : loading ? t.loading : ''}</p>
      </>
    )
  }
  const analyst = viewer.role === 'analyst'
  const own = viewer.role === 'patient' && viewer.patientIds.includes(patient.id)
  const over = deleted || Boolean(patient.replacedBy)
  const writes = viewer.role === 'admin' || own
  const rights = { patient, alone: patient.id === home, shown: !analyst, writes, mayEdit: writes && patient.active && !over }
  const about = t.sync[patient.syncState]![1]
  return (
    <>
      {back}
      <header className="profile">
        <PageTitle title={t.profileTitle}>{patient.fullName ?? (analyst ? t.nameHidden : patient.id)}</PageTitle>
        <dl>
          <div><dt>{t.number}</dt><dd>{patient.id}</dd></div>
          <div><dt>{t.birth}</dt><dd>{patient.birthDate ?? patient.birthYear ?? t.none}</dd></div>
          <div><dt>{t.gender}</dt><dd>{t.genders[patient.gender]}</dd></div>
        </dl>
        <p className="marks" role="status">
          {!over && <SyncMark state={patient.syncState} />}
          {!patient.active && <span className="mark off">{t.inactive}</span>}
          {patient.deceased && <span className="mark off">{t.deceased}</span>}
        </p>
        {!patient.active && !over && <p className="about">{t.inactiveText}</p>}
        {about && !over && <p className="about">{about}</p>}
        {patient.lastSyncedAt && <p className="help">{t.lastSynced(format.format(new Date(patient.lastSyncedAt)))}</p>}
      </header>
      {failed}
      <div role="status">
        {deleted && <Panel page tone="bad" title={t.deletedTitle}><p>{t.deleted}</p></Panel>}
        {patient.replacedBy && <Panel page tone="bad" title={t.merged}><p><a href={profilePath(patient.replacedBy)}>{t.survivor(patient.replacedBy)}</a></p></Panel>}
      </div>
      <ContactCard {...rights} />
      <EmergencyCard {...rights} />
    </>
  )
}
