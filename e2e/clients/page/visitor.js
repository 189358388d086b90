// Who stands before the page, and its words.
import { focused, korean, open, say, state } from './drive.js'

const { EXAMPLE_DOCS, PATIENTS } = process.env

// numberOf is the number of a patient of the hospital, by its FHIR id.
export const numberOf = id => `P-2026-${String(PATIENTS.split(' ').indexOf(id) + 1).padStart(6, '0')}`

export const words = {
  admin: say(/Administrator/, /관리자/), doctor: say(/Doctor/, /의사/), analyst: say(/Analyst/, /분석가/),
  patient: say(/Patient P-2025-000001/, /환자 P-2025-000001/), unheard: say(/Patient P-2025-000004/, /환자 P-2025-000004/), // of whom FHIR answers no write
  contact: say('Contact', '연락처'), emergency: say('Emergency contact', '비상 연락처'),
  phone: say('Phone', '전화번호'), email: say('Email', '이메일'), name: say('Name', '이름'), relationship: say('Relationship', '관계'), lines: say('Street, building, apartment', '도로명, 건물, 호수'),
  save: say('Save', '저장'), cancel: say('Cancel', '취소'), close: say('Close', '닫기'), edit: what => say(`Edit: ${what}`, `${what} 수정`),
  tryAgain: say('Try again', '다시 시도'), tryAgainIn: say(/Try again in \d+ s/, /\d+초 후 다시 시도/),
}

// A Visitor is somebody before the page. What the page asks before something is lost is in
// asked; the answer is to leave, unless the visitor stays.
export class Visitor {
  static async at(url) {
    const visitor = new Visitor()
    Object.assign(visitor, await open(`${url}/app/`), { url, sent: [], asked: [], stays: false, underWay: new Set() })
    visitor.page.on('dialog', dialog => {
      visitor.asked.push(dialog.message() || dialog.type()) // the words of beforeunload are the browser's
      return visitor.stays ? dialog.dismiss() : dialog.accept()
    })
    visitor.page.on('request', request => { // what is asked of updatePatientContact
      const { input } = JSON.parse(request.postData() ?? '{}').variables ?? {}
      if (input?.phone) visitor.sent.push(input)
      if (request.method() === 'POST') visitor.underWay.add(request)
    })
    for (const end of ['requestfinished', 'requestfailed']) visitor.page.on(end, request => visitor.underWay.delete(request))
    return visitor
  }

  button = (name, exact = true) => this.page.getByRole('button', { name, exact })
  heading = name => this.page.getByRole('heading', { name })
  field = (name, card = words.contact) => this.page.getByRole('region', { name: card, exact: true }).getByLabel(name, { exact: true })
  text = text => this.page.getByText(text)
  state = name => state(name, this)

  async signIn(role, title = list) {
    await this.button(words[role]).click()
    await this.heading(title).waitFor()
  }

  async signInWith(token) {
    await this.page.getByLabel(say('Access token', '액세스 토큰')).fill(token)
    await this.button(say('Sign in with the token', '토큰으로 로그인')).click()
  }

  signOut = () => this.button(say('Sign out', '로그아웃')).click()
  backTo = title => this.page.getByRole('link', { name: `← ${title}`, exact: true })

  async profile(number) {
    await this.page.goto(`${this.url}/app/#/patients/${number}`)
    await this.page.getByText(number, { exact: true }).first().waitFor()
  }

  async edit(values, card = words.contact) {
    await this.button(words.edit(card)).click()
    for (const [name, value] of Object.entries(values)) await this.field(words[name], card).fill(value)
  }

  save = () => this.button(words.save).click()

  // quiet waits until the page asks the server for nothing: what it asks by itself would be
  // refused too.
  async quiet() {
    while (this.underWay.size > 0) await new Promise(resolve => setTimeout(resolve, 20))
  }

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

export const list = say('Patients', '환자 목록')
export const ownRecords = say('My records', '내 기록')
export const editAgain = say('Edit again', '다시 수정')
export const chosen = say('Save with these choices', '선택한 대로 저장')
export const conflict = say('Somebody else has changed the same thing', '다른 사람이 같은 항목을 변경했습니다')
export const refusedToken = say('This token is refused', '사용할 수 없는 토큰입니다')
export const saved = say('Saved', '저장되었습니다')
export const unknown = say('We do not know yet whether this was saved', '저장되었는지 아직 알 수 없습니다')
export const notSavedAfterAll = say('It was not saved', '저장되지 않은 것으로 확인되었습니다')
export const notSaved = say('Not saved', '저장되지 않았습니다')
export const rejected = say('The hospital’s record refused the change', '병원 기록 시스템에서 변경을 거부했습니다')

// docs takes the pictures that the docs show: in English the desktop's, in Korean the phone's.
export async function docs(v, name) {
  if (!EXAMPLE_DOCS) return
  await v.page.setViewportSize(korean ? { width: 390, height: 844 } : { width: 960, height: 700 })
  await v.page.screenshot({ path: `${EXAMPLE_DOCS}/${name}-${say('en', 'ko')}.png`, fullPage: true })
}
