// Every state of examples/react, against the demo (DEMO) and a hospital of the test's own
// (FRONT, see example_test.go), in one language. Each step waits for what it is about to see.
import { check, control, focused, korean, open, quit, say, seen, state, tabTo } from './drive.js'

const { DEMO, FRONT, READER, EXAMPLE_DOCS } = process.env
const numbers = ['away', 'busy', 'refusing', 'gone', 'merged', 'merging', 'survivor', 'ignoring', 'applied', 'overtaken', 'normalizing',
  'database', 'session', 'lost', 'deleted', 'inactive', 'limited', 'emergency', 'forgotten']
const numberOf = id => `P-2026-${String(numbers.indexOf(id) + 1).padStart(6, '0')}`

const words = {
  admin: say(/Administrator/, /관리자/), doctor: say(/Doctor/, /의사/), analyst: say(/Analyst/, /분석가/), patient: say(/Patient P-/, /환자 P-/),
  contact: say('Contact', '연락처'), emergency: say('Emergency contact', '비상 연락처'),
  phone: say('Phone', '전화번호'), email: say('Email', '이메일'), name: say('Name', '이름'), lines: say('Street, building, apartment', '도로명, 건물, 호수'),
  save: say('Save', '저장'), cancel: say('Cancel', '취소'), close: say('Close', '닫기'), edit: what => say(`Edit: ${what}`, `${what} 수정`),
  tryAgain: say('Try again', '다시 시도'), tryAgainIn: say(/Try again in \d+ s/, /\d+초 후 다시 시도/),
}

// A Visitor is somebody before the page.
class Visitor {
  static async at(url) {
    const visitor = new Visitor()
    Object.assign(visitor, await open(`${url}/app/`), { url, sent: [] })
    visitor.page.on('request', request => { // what is asked of updatePatientContact
      const { input } = JSON.parse(request.postData() ?? '{}').variables ?? {}
      if (input?.phone) visitor.sent.push(input)
    })
    return visitor
  }

  button = (name, exact = true) => this.page.getByRole('button', { name, exact })
  heading = name => this.page.getByRole('heading', { name })
  field = (name, card = words.contact) => this.page.getByRole('region', { name: card, exact: true }).getByLabel(name, { exact: true })
  text = text => this.page.getByText(text)
  state = name => state(name, this)

  async signIn(role) {
    await this.button(words[role]).click()
    await this.heading(say('Patients', '환자 목록')).waitFor()
  }

  async profile(number) {
    await this.page.goto(`${this.url}/app/#/patients/${number}`)
    await this.page.getByText(number, { exact: true }).first().waitFor()
  }

  async edit(values, card = words.contact) {
    await this.button(words.edit(card)).click()
    for (const [name, value] of Object.entries(values)) await this.field(words[name], card).fill(value)
  }

  save = () => this.button(words.save).click()

  // result waits for how it ended, which must have the focus.
  result = async title => focused(this.heading(title))

  async ask(number, values, title, card) {
    await this.profile(number)
    await this.edit(values, card)
    await this.save()
    await this.result(title)
  }

  leave = () => this.context.close()
}

const saved = say('Saved', '저장되었습니다')
const unknown = say('We do not know yet whether this was saved', '저장되었는지 아직 알 수 없습니다')
const notSaved = say('Not saved', '저장되지 않았습니다')
const rejected = say('The hospital’s record refused the change', '병원 기록 시스템에서 변경을 거부했습니다')

const groups = {
  // The demo, as an administrator.
  async demo() {
    const v = await Visitor.at(DEMO)
    check(await v.page.locator('html').getAttribute('lang') === say('en', 'ko'), 'the page is in another language')
    await v.state('sign-in')
    await v.signIn('admin')
    await v.text(say('20 of 30 shown', '30명 중 20명 표시')).waitFor()
    await v.state('list')
    await v.button(say('Load more', '더 보기')).click()
    await v.text(say('30 of 30 shown', '30명 중 30명 표시')).waitFor()
    await focused(v.page.locator('.patients a').nth(20))
    await v.page.getByRole('searchbox').fill('nobody')
    await v.text(say('No patient matches.', '일치하는 환자가 없습니다.')).waitFor()
    await v.state('no-match')
    await v.page.getByRole('searchbox').fill('P-2025-000003')
    await v.page.getByRole('link', { name: /Jim Chalmers/ }).waitFor()
    await v.page.getByRole('searchbox').fill('010 1234 5678')
    await v.page.getByRole('link', { name: /홍길동/ }).waitFor()
    await v.page.getByRole('searchbox').fill('길동')
    await v.text(say('1 patient.', '환자 1명.')).waitFor()
    await v.state('search')
    await v.page.getByRole('link', { name: /홍길동/ }).click()
    await focused(v.heading('홍길동'))
    await v.heading(words.emergency).waitFor()
    await v.state('profile')

    await v.edit({})
    await focused(v.field(words.phone))
    await v.state('edit')
    await v.save()
    await v.text(say('You have changed nothing yet.', '아직 변경하신 내용이 없습니다.')).waitFor()
    await v.state('nothing-changed')
    await v.field(words.email).fill('no address')
    await v.field(words.phone).fill('\u200b')
    await v.save()
    await v.result(say('Please check what you have typed', '입력하신 내용을 확인해 주세요'))
    await v.page.locator('[slot=errorMessage]').nth(1).waitFor()
    const told = await v.page.locator('[slot=errorMessage]').allInnerTexts()
    check(told.every(text => /[가-힣]/.test(text) === korean), `the faults are told as ${told}`)
    await v.state('invalid')
    await v.field(words.email).fill('gildong@example.org')
    await v.field(words.phone).fill('010-7777-8888')
    await v.field(words.lines).fill('테헤란로 152\n8층')
    await v.save()
    await v.result(saved)
    await v.text(/8층/).waitFor()
    await v.state('saved')
    await docs(v, 'profile')

    await v.edit({ phone: '' }) // the next entry becomes the phone
    await v.save()
    await v.result(saved)
    await v.text('02-555-0123').waitFor()

    await v.ask('P-2025-000002', { phone: '010-3456-7890' }, saved)
    await v.text(say(/^Saved here\./, /^여기에 저장되었습니다\./)).waitFor()
    await v.state('saved-here')
    await v.ask('P-2025-000003', { phone: '02-1' }, rejected)
    await v.text('Invalid phone format').first().waitFor()
    check(await v.field(words.phone).getAttribute('aria-invalid') === 'true', 'the phone is not said to be at fault')
    await v.state('rejected')
    await v.ask('P-2025-000005', { phone: '010-5678-9012' }, say('Not saved: others keep changing this record', '저장되지 않았습니다. 다른 사람이 이 기록을 계속 변경하고 있습니다'))
    await v.state('busy')
    await v.profile('P-2025-009999').catch(() => {})
    await v.heading(say('No such patient', '환자를 찾을 수 없습니다')).waitFor()
    await v.state('not-found')

    await v.profile('P-2025-000006')
    await v.edit({ phone: '010-1212-3434' })
    await v.context.setOffline(true)
    await v.text(say(/^You are offline\./, /^인터넷에 연결되어 있지 않습니다\./)).waitFor()
    await v.save()
    await v.text(say(/^You are offline: nothing was sent/, /연결되어 있지 않아 전송되지 않았습니다/)).waitFor()
    await v.state('offline')
    await v.context.setOffline(false)
    await v.save()
    await v.result(saved)
    await v.leave()
  },

  // What is not known yet: through a reload, and until it is.
  async unknown() {
    const v = await Visitor.at(DEMO)
    await v.signIn('admin')
    await v.profile('P-2025-000004')
    await v.edit({ phone: '010-4567-8901' })
    await v.save()
    await v.heading(unknown).waitFor()
    await v.text(say('Not settled', '확인 중')).waitFor()
    await v.state('unknown')
    await docs(v, 'unknown')
    const kept = await v.page.evaluate(() => ({ ...sessionStorage, ...localStorage }))
    check(/^\[{"patientId":"P-2025-000004","idempotencyKey":"[0-9a-f-]{36}","operationId":"[0-9a-f-]{36}"}\]$/.test(kept['patientgraph.unsettled']) &&
      Object.keys(kept).length === 1, `kept is ${JSON.stringify(kept)}`)
    await v.page.reload()
    await v.button(words.admin).waitFor()
    await v.button(words.admin).click()
    await v.heading(unknown).waitFor()
    await v.state('unknown-after-reload')
    await v.page.goto(`${DEMO}/app/#/`)
    await v.text(say(/^We do not know yet whether a change was saved/, /^저장되었는지 아직 알 수 없는 변경/)).waitFor()
    await v.state('unknown-elsewhere')
    await v.page.getByRole('main').getByRole('link', { name: 'P-2025-000004', exact: true }).click()
    await v.heading(say('It was not saved', '저장되지 않은 것으로 확인되었습니다')).waitFor()
    await v.state('settled-not-applied')
    check(await v.page.evaluate(() => sessionStorage.length) === 0, 'what is settled is kept')
    await v.button(say('Edit again', '다시 수정')).click()
    await focused(v.field(words.phone))
    await v.field(words.phone).fill('010-4567-8902')
    await v.save()
    await v.heading(unknown).waitFor()
    await v.page.reload()
    await v.button(words.doctor).click() // not who asked
    await v.heading(say('What became of a change cannot be told to this sign-in', '이 로그인으로는 변경 결과를 확인할 수 없습니다')).waitFor()
    await v.state('cannot-watch')
    await v.button(words.close).click()
    await v.leave()
  },

  // Somebody else, and who may do less.
  async others() {
    const [v, other] = [await Visitor.at(DEMO), await Visitor.at(DEMO)]
    const conflict = say('Somebody else has changed the same thing', '다른 사람이 같은 항목을 변경했습니다')
    await v.signIn('admin')
    await other.signIn('admin')
    await v.profile('P-2025-000007')
    await v.edit({ phone: '010-1111-0001', email: 'mine@example.org' })
    await other.ask('P-2025-000007', { phone: '010-2222-0002' }, saved)
    await v.text(say(/^Somebody has changed this record since you began/, /^수정하시는 동안 다른 사람이/)).waitFor()
    await v.state('changed-meanwhile')
    await v.save()
    await v.result(conflict)
    check(await v.page.getByRole('radio').count() === 2, 'what nobody else has changed is asked for')
    await v.state('conflict')
    await docs(v, 'conflict')
    await v.page.getByText(say('Save yours', '입력한 값 저장')).click()
    await v.button(say('Save with these choices', '선택한 대로 저장')).click()
    await v.result(saved)
    await v.text('010-1111-0001').waitFor()
    await v.text('mine@example.org').waitFor()

    await v.edit({ phone: '010-1111-0003' })
    await other.ask('P-2025-000007', { phone: '010-2222-0004' }, saved)
    await v.save()
    await v.result(conflict)
    await v.button(say('Save with these choices', '선택한 대로 저장')).click() // theirs: nothing is left to be saved
    await focused(v.button(words.edit(words.contact)))
    await v.text('010-2222-0004').waitFor()

    await v.edit({ name: '김정희', phone: '010-9' }, words.emergency)
    await other.ask('P-2025-000007', { name: '박정희' }, saved, words.emergency)
    await v.save()
    await v.result(conflict)
    await v.state('emergency-conflict')
    await v.page.getByText(say('Save yours', '입력한 값 저장')).click()
    await v.button(say('Save with these choices', '선택한 대로 저장')).click()
    await v.result(saved)
    await v.text(/김정희/).waitFor()

    await other.leave()
    await v.button(say('Sign out', '로그아웃')).click()
    await v.signIn('doctor')
    await v.profile('P-2025-000001')
    await v.text(say('You may read this record, but not change it.', '이 기록을 조회할 수 있지만 수정할 수는 없습니다.')).first().waitFor()
    await v.state('doctor')
    await v.button(say('Sign out', '로그아웃')).click()
    await v.signIn('analyst')
    await v.text(say('20 of 30 shown', '30명 중 20명 표시')).waitFor()
    await v.state('analyst-list')
    await v.profile('P-2025-000001')
    await v.text(say('Not shown to your role.', '이 역할에는 표시되지 않습니다.')).first().waitFor()
    await v.state('analyst')
    await v.leave()
  },

  // A patient with a keyboard alone, from the sign-in to the saved change.
  async keyboard() {
    const v = await Visitor.at(DEMO)
    const press = key => v.page.keyboard.press(key)
    await tabTo(v.button(words.patient))
    await press('Enter')
    await tabTo(v.page.getByRole('link', { name: /홍길동/ }))
    await press('Enter')
    await focused(v.heading('홍길동'))
    await tabTo(v.button(words.edit(words.emergency)))
    await press('Enter')
    await focused(v.field(words.name, words.emergency))
    await press('Control+a')
    await v.page.keyboard.type('김정희')
    await tabTo(v.button(words.save))
    await press('Enter')
    await v.result(saved)
    await v.text(/김정희/).waitFor()
    await v.state('keyboard')
    await tabTo(v.button(words.edit(words.emergency)))
    await press('Enter')
    await tabTo(v.button(words.cancel))
    await press('Enter')
    await focused(v.button(words.edit(words.emergency)))
    await v.leave()
  },

  // A hospital whose FHIR server fails in each way.
  async fhir() {
    const v = await Visitor.at(FRONT)
    await v.signIn('admin')
    const ask = (id, values, title, card) => v.ask(numberOf(id), values, title, card)
    const phone = '010-2000-3000'

    await v.profile(numberOf('survivor'))
    await v.text(say('May be out of date', '최신이 아닐 수 있음')).waitFor()
    await v.state('stale')

    await control('away', 'away')
    await ask('away', { phone }, notSaved)
    check(await v.button(words.tryAgainIn, false).isDisabled(), 'one may try again at once')
    await v.state('unavailable')
    await control('clear')
    await v.button(words.tryAgain).click()
    await v.result(saved)
    await v.edit({ phone: '010-2000-3001' })
    await v.save()
    await v.result(saved)
    const [first, again, other] = v.sent
    check(v.sent.length === 3 && first.idempotencyKey === again.idempotencyKey && again.idempotencyKey !== other.idempotencyKey &&
      first.expectedVersion && first.expectedVersion === again.expectedVersion && again.expectedVersion !== other.expectedVersion,
      `a try and its retry, and another change, were sent as ${JSON.stringify(v.sent)}`)

    await control('unauthorized', 'busy')
    await ask('busy', { phone }, notSaved)
    check(await v.button(words.tryAgain).count() === 0, 'it is said that waiting helps')
    await v.state('operator')
    await control('clear')
    await control('ignore', 'ignoring')
    await ask('ignoring', { phone }, say('Not everything was saved', '일부 내용이 저장되지 않았습니다'))
    await v.state('not-applied')
    await control('normalize', 'normalizing')
    await ask('normalizing', { phone }, saved)
    await v.text(say(/^The hospital’s record writes it in its own form/, /자체 형식으로 저장됩니다/)).waitFor()
    await v.state('normalized')
    await control('delete', 'gone')
    await ask('gone', { phone }, say('The hospital’s record no longer has this patient', '병원 기록 시스템에 더 이상 없는 환자입니다'))
    await v.state('gone')
    await control('merge', 'merging')
    await ask('merging', { phone }, rejected)
    await v.state('merged-meanwhile')
    await v.profile(numberOf('merged'))
    await v.text(say(/^This record was merged into another/, /^다른 기록과 통합되어/)).waitFor()
    await v.state('merged')
    await v.page.getByRole('link', { name: numberOf('survivor') }).click()
    await v.button(words.edit(words.contact)).waitFor()
    await v.profile(numberOf('inactive'))
    await v.text(say('Not in use', '사용하지 않는 기록')).waitFor()
    await v.state('inactive')

    await control('lose-and-apply', 'applied')
    await v.profile(numberOf('applied'))
    await v.edit({ phone })
    await v.save()
    await v.heading(unknown).waitFor()
    await control('clear')
    await v.heading(say('It was saved after all', '저장된 것으로 확인되었습니다')).waitFor()
    await v.text(phone).first().waitFor()
    await v.state('settled-applied')
    await v.button(words.close).click()

    await control('lose', 'overtaken')
    await v.profile(numberOf('overtaken'))
    await v.edit({ phone })
    await v.save()
    await v.heading(unknown).waitFor()
    await control('edit', 'overtaken')
    await control('clear')
    await v.button(say('Edit again', '다시 수정')).waitFor()
    await v.state('settled-otherwise')

    await v.profile(numberOf('deleted'))
    await v.edit({ phone })
    await control('delete', 'deleted')
    await control('sync')
    await v.heading(say('No longer there', '더 이상 없는 기록입니다')).waitFor()
    await v.state('deleted')
    await v.profile(numberOf('forgotten'))
    await v.edit({ phone })
    await control('forget', 'forgotten')
    await v.save()
    await v.result(say('There is no such patient any more', '환자를 더 이상 찾을 수 없습니다'))
    await v.state('patient-not-found')
    await v.leave()
  },

  // The server itself cannot, or may not.
  async server() {
    const v = await Visitor.at(FRONT)
    await v.signIn('admin')
    const phone = '010-2000-3000'

    await ask('emergency', { name: '' , phone: '010-1' }, say('Please check what you have typed', '입력하신 내용을 확인해 주세요'), words.emergency)
    await v.state('emergency-invalid')
    await v.field(words.name, words.emergency).fill('홍판서')
    await v.save()
    await v.result(saved)
    await v.state('emergency-saved')

    await v.profile(numberOf('database'))
    await v.edit({ phone })
    await control('database-away')
    await v.save()
    await v.result(say('The server cannot answer right now', '서버가 지금 응답할 수 없습니다'))
    await v.state('database-away')
    await control('database-back')
    await v.button(words.tryAgain).click()
    await v.result(saved)

    await v.profile(numberOf('limited'))
    await control('flood', 'on')
    for (let n = 0; await v.heading(say('Too many requests', '요청이 너무 많습니다')).count() === 0; n++) { // the flood may leave room for one
      check(n < 50, 'one may ask as often as one likes')
      if (await v.field(words.phone).count() === 0) await v.edit({ phone: `010-2000-${1000 + n}` })
      await v.save()
      await v.page.locator('.panel').first().waitFor()
    }
    await control('flood', 'off')
    await v.state('limited')
    await v.button(words.tryAgain).click()
    await v.result(saved)

    await v.profile(numberOf('session'))
    await v.edit({ phone })
    await control('refused', 'on')
    await v.save()
    await v.text(say('You were signed out', '로그아웃되었습니다')).waitFor()
    check(!await v.field(words.phone).isVisible(), 'the record is still to be seen')
    await v.state('signed-out')
    await control('refused', 'off')
    await v.button(words.admin).click()
    check(await v.field(words.phone).inputValue() === phone, 'what was typed is gone')
    await v.save()
    await v.result(saved)

    await v.profile(numberOf('lost'))
    await v.edit({ phone })
    await control('lost', 'on')
    await v.save()
    await v.result(say('No answer came', '응답이 없습니다'))
    await v.state('answer-lost')
    await control('lost', 'off')
    await v.button(words.tryAgain).click() // the same key: it is told what it was told
    await v.result(saved)
    await v.edit({ phone: '010-2000-3002' })
    await control('lost', 'on')
    await v.save()
    await v.result(say('No answer came', '응답이 없습니다'))
    await control('lost', 'off')
    await v.page.reload()
    await v.button(words.admin).click()
    await v.heading(say('No answer came to a change that was sent before the page was reloaded', '페이지를 새로 고치기 전에 보낸 변경에 대한 응답을 받지 못했습니다')).waitFor()
    await v.state('unanswered')
    await v.button(say('Understood', '확인')).click()
    check(await v.page.evaluate(() => sessionStorage.length) === 0, 'what is understood is kept')

    await v.edit({ phone: '010-2000-4000' })
    await control('slow', 'on')
    await v.save()
    await v.text(say(/^Saving…/, /^저장 중…/)).waitFor()
    await v.state('saving')
    await control('slow', 'off')
    await v.page.reload()
    await v.button(words.admin).click()
    await v.button(say('Understood', '확인')).click()

    // Each letter is searched for, and what nobody waits for any more is given up.
    await v.page.getByRole('link', { name: say(/All patients/, /환자 목록/) }).click()
    await control('slow', 'on')
    const first = v.page.waitForRequest(request => request.postData()?.includes('"name":"홍"'))
    const aborted = v.page.waitForEvent('requestfailed', request => request.postData()?.includes('"name":"홍"'))
    await v.page.getByRole('searchbox').fill('홍')
    await first
    await v.page.getByRole('searchbox').fill('홍길')
    check((await aborted).failure().errorText === 'net::ERR_ABORTED', 'the search goes on')
    await control('slow', 'off')

    await v.button(say('Sign out', '로그아웃')).click()
    await v.page.getByLabel(say('Access token', '액세스 토큰')).fill(READER)
    await v.button(say('Sign in with the token', '토큰으로 로그인')).click()
    await v.heading(say('Patients', '환자 목록')).waitFor()
    await ask('lost', { phone: '010-1212-1212' }, say('You may not change this', '수정 권한이 없습니다'))
    await v.state('not-permitted')
    await v.leave()

    function ask(id, values, title, card) { return v.ask(numberOf(id), values, title, card) }
  },
}

// docs takes the pictures that the docs show: in English the desktop's, in Korean the phone's.
async function docs(v, name) {
  if (!EXAMPLE_DOCS) return
  await v.page.setViewportSize(korean ? { width: 390, height: 844 } : { width: 960, height: 700 })
  await v.page.screenshot({ path: `${EXAMPLE_DOCS}/${name}-${say('en', 'ko')}.png`, fullPage: true })
}

const only = process.env.EXAMPLE_ONLY // one group, while working on it
try {
  for (const [name, run] of Object.entries(groups)) {
    if (only && only !== name) continue
    console.log(name)
    await run()
  }
} finally {
  await quit()
}
console.log(`${seen().length} states: ${seen().join(', ')}`)
