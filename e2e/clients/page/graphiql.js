// The page at /, for everybody who uses it (../../graphiql_test.go): DEMO is the demo, HOSPITAL
// a server below a path, TOKEN an analyst's for it, and SHORT one that has expired.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import axe from 'axe-core'
import { chromium } from 'playwright-core'

const { CHROMIUM, DEMO, HOSPITAL, TOKEN, SHORT, IMAGES } = process.env
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})

// Visitor is somebody before the page, with all that the page does wrong meanwhile.
class Visitor {
  static async at(url, options = {}) {
    const v = new Visitor()
    v.context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-US', ...options })
    await v.context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: new URL(url).origin })
    v.context.setDefaultTimeout(60_000) // generous: what is judged is what is seen
    v.page = await v.context.newPage()
    v.wrong = []
    v.requests = []
    v.page.on('console', (message) => ['error', 'warning'].includes(message.type()) && v.wrong.push(message.text()))
    v.page.on('pageerror', (error) => v.wrong.push(error.message))
    v.page.on('request', (request) => v.requests.push(request))
    await v.page.addInitScript(() =>
      document.addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`)))
    await v.page.goto(url)
    await v.editorHas(/\w/)
    return v
  }

  button = (name) => this.page.getByRole('button', { name, exact: true })
  says = (text) => this.page.getByText(text).first().waitFor()
  rows = () => this.page.locator('.results tbody tr')
  editorHas = (pattern) => this.page.locator('.graphiql-query-editor .view-lines').filter({ hasText: pattern }).waitFor()
  json = (pattern) => this.page.locator('.result-window .view-lines').filter({ hasText: pattern }).waitFor()
  tab = (name) => this.page.locator(`.graphiql-tab [title="${name}"]`)
  run = () => this.page.locator('.graphiql-execute-button').click()
  example = (name) => this.page.locator('.examples').selectOption(name)

  async download(name) {
    const [download] = await Promise.all([this.page.waitForEvent('download'), this.button(name).click()])
    return { name: download.suggestedFilename(), text: await readFile(await download.path(), 'utf8') }
  }

  // accessible: nothing serious is wrong with what is ours; GraphiQL's own parts are its makers'.
  async accessible(what) {
    await this.page.evaluate(axe.source) // by the debugger, which the policy does not bind
    const { violations } = await this.page.evaluate(() => window.axe.run({ include: [['.bar'], ['.results']] }))
    const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    assert.deepEqual(serious.map(({ id, nodes }) => [what, id, nodes[0].html]), [])
  }

  picture = async (name) => IMAGES && this.page.screenshot({ path: `${IMAGES}/${name}.png` })

  async leave(allowed = /^$/) {
    assert.deepEqual(this.wrong.filter((text) => !allowed.test(text)), [])
    const origin = new URL(this.page.url()).origin
    for (const request of this.requests) assert.match(request.url(), new RegExp(`^(${origin}/|data:|blob:${origin}/)`))
    assert.equal(await this.page.evaluate(async () => localStorage.length + sessionStorage.length + document.cookie.length + (await indexedDB.databases()).length), 0,
      'the page keeps something')
    await this.context.close()
  }
}

const shared = (url, query) => `${url}/#query=${encodeURIComponent(query)}`

// An analyst's first minute: one click to sign in, one to run, one for the chart.
async function analyst() {
  const v = await Visitor.at(`${DEMO}/`)
  await v.says('Signed in as Admin.')
  await v.button('Analyst').click()
  await v.says('Signed in as Analyst. Reads every patient without names')
  await v.run()
  await v.says('30 rows of 30')
  assert.equal(await v.rows().count(), 30)
  assert.deepEqual(await v.page.locator('.results th').allTextContents(), ['birthYear', 'gender'])
  await v.accessible('table')
  await v.button('Chart').click()
  await v.page.getByRole('img', { name: '30 rows counted by birthYear, gender' }).waitFor()
  await v.accessible('chart')
  await v.page.setViewportSize({ width: 1220, height: 620 })
  await v.picture('graphiql')
  const counts = await v.download('Download CSV')
  assert.equal(counts.name, 'BirthYearAndGender.csv')
  assert.match(counts.text, /^\ufeff"birthYear","FEMALE","MALE","(OTHER|UNKNOWN)","(OTHER|UNKNOWN)","Count"\r\n/)
  assert.equal(counts.text.trim().split('\r\n').slice(1).reduce((sum, line) => sum + Number(line.match(/"(\d+)"$/)[1]), 0), 30)
  await v.page.getByLabel('Count by').selectOption('gender')
  await v.page.getByRole('img', { name: '30 rows counted by gender' }).waitFor()
  await v.button('JSON').click()
  await v.json('"birthYear":')

  for (const name of ['NotSynced', 'Stale', 'ChangedSince', 'DeIdentified']) {
    await v.example(name)
    await v.tab(name).waitFor()
    await v.button('JSON').click()
    await v.run()
    await v.json('"totalCount":')
  }
  await v.button('Table').click()
  await v.says('30 rows of 30')

  const paper = () => v.page.locator('body').evaluate((body) => getComputedStyle(body).backgroundColor)
  assert.equal(await paper(), 'rgb(255, 255, 255)')
  await v.page.getByRole('button', { name: 'Open settings dialog' }).click()
  await v.button('Dark').click() // where the system is light
  await v.page.keyboard.press('Escape')
  assert.notEqual(await paper(), 'rgb(255, 255, 255)')
  await v.accessible('table, dark by choice')
  await v.leave()
}

// Pages: all of them, as many as there are until one stops, and none of another query.
async function pages() {
  const v = await Visitor.at(shared(DEMO, 'query Few { some: patients(first: 4) { edges { node { id birthYear address { city } } } } }'))
  await v.run()
  await v.says('4 rows')
  assert.deepEqual(await v.page.locator('.results th').allTextContents(), ['id', 'birthYear', 'address.city'])
  await v.button('Load all pages').click()
  await v.says('30 rows')
  assert.equal(new Set(await v.page.locator('.results td:first-child').allTextContents()).size, 30)

  await v.page.evaluate(() => (location.hash = `#query=${encodeURIComponent(
    'query Counted($after: String) { patients(first: 4, after: $after) { totalCount nodes { id } pageInfo { hasNextPage endCursor } } }')}`))
  await v.tab('Counted').waitFor()
  await v.run()
  await v.says('4 rows of 30 · More follow.')
  let held
  const third = new Promise((resolve) => (held = resolve))
  let asked = 0
  await v.page.route('**/graphql', (route) => (++asked === 3 ? held(route) : route.continue()))
  await v.button('Load all pages').click()
  await third
  await v.says('Loading: 8 rows of 30')
  await v.button('Stop').click()
  await v.says('8 rows of 30 · More follow. Stopped.')
  assert.equal(await v.rows().count(), 8)
  await v.page.unroute('**/graphql')
  await v.button('Load all pages').click()
  await v.says('30 rows of 30')
  await v.tab('Few').click()
  await v.says('30 rows')
  await v.leave()
}

// CSV: what a spreadsheet would run is text there.
async function spreadsheet() {
  const v = await Visitor.at(shared(DEMO, `mutation Formula { updatePatientProfile(input: { patientId: "P-2025-000006",
    emergencyContact: { name: "=HYPERLINK(\\"x\\", 1)", relationship: "+1", phone: "-2" }, allergies: ["@SUM(1)", "b, \\"c\\""] }) { __typename } }`))
  await v.run()
  await v.json('UpdatePatientProfileSuccess')
  await v.page.evaluate(() => (location.hash = `#query=${encodeURIComponent(
    'query P { patient(id: "P-2025-000006") { id birthYear emergencyContact { name relationship phone } allergies email } }')}`))
  await v.tab('P').waitFor()
  await v.run()
  await v.json('"emergencyContact"')
  await v.button('Copy CSV').click()
  await v.says('Copied.')
  const [names, row] = (await v.page.evaluate(() => navigator.clipboard.readText())).split(/\r?\n/)
  assert.equal(names, '"id","birthYear","emergencyContact.name","emergencyContact.relationship","emergencyContact.phone","allergies","email"')
  assert.match(row, /^"P-2025-000006","\d{4}","'=HYPERLINK\(""x"", 1\)","'\+1","'-2","'@SUM\(1\); b, ""c""",/)

  await v.page.route('**/graphql', (route) => route.fulfill({ json: { data: { patients: { nodes: [{ name: ' =1+1', phone: '+82 10-1234-5678', weight: -3 }] } } } }))
  await v.run()
  await v.says('1 row')
  assert.equal((await v.download('Download CSV')).text, '\ufeff"name","phone","weight"\r\n"\' =1+1","\'+82 10-1234-5678","-3"\r\n')
  await v.leave()
}

// A developer: each outcome, a subscription that is stopped, and a link to a query.
async function developer() {
  const v = await Visitor.at(`${DEMO}/`)
  for (const [name, outcome, role] of [['Success', 'UpdatePatientContactSuccess'], ['Rejected', 'Invalid phone format'], ['Timeout', 'UNKNOWN'], ['NotPermitted', 'NOT_PERMITTED', 'Doctor']]) {
    if (role) await v.button(role).click()
    await v.example(name)
    await v.run()
    await v.json(outcome)
  }
  await v.button('Admin').click()
  await v.example('Watch')
  const [stream] = await Promise.all([
    v.page.waitForRequest((request) => request.headers().accept === 'text/event-stream'),
    v.run(),
  ])
  await stream.response()
  const other = await Visitor.at(shared(DEMO, 'mutation Other { updatePatientContact(input: { patientId: "P-2025-000001", phone: "010-7777-7777" }) { __typename } }'))
  await other.run()
  await other.json('UpdatePatientContactSuccess')
  await other.leave()
  await v.json('010-7777-7777')
  const [ended] = await Promise.all([v.page.waitForEvent('requestfailed'), v.run()])
  assert.equal(ended, stream)

  await v.example('ChangedSince')
  await v.button('Copy link').click()
  await v.says('It holds the query alone')
  const link = await v.page.evaluate(() => navigator.clipboard.readText())
  assert.equal(link, v.page.url())
  assert.match(decodeURIComponent(link), /query ChangedSince/)
  assert.doesNotMatch(decodeURIComponent(link), /2025-01-01|eyJ/)
  await v.tab('Watch').click()
  const [again] = await Promise.all([v.page.waitForRequest((request) => request.headers().accept === 'text/event-stream'), v.run()])
  await again.response()
  const [cut] = await Promise.all([v.page.waitForEvent('requestfailed'), v.button('Sign out').click()])
  assert.equal(cut, again)
  await v.says('Not signed in: paste an access token to run queries.')
  await v.tab('Watch').waitFor({ state: 'detached' }) // whoever comes next sees no answers
  await v.editorHas('BirthYearAndGender')
  await v.run()
  await v.json('UNAUTHENTICATED')
  await v.leave(/status of 401/)
}

// Korean, dark, and on a phone.
async function korean() {
  const v = await Visitor.at(`${DEMO}/`, { locale: 'ko-KR', colorScheme: 'dark', viewport: { width: 390, height: 844 } })
  await v.says('관리자 역할로 로그인했습니다.')
  await v.example('Rejected')
  await v.run()
  await v.json('FhirRejected')
  assert.equal(v.requests.findLast((request) => request.method() === 'POST').headers()['accept-language'], 'ko')
  await v.tab('BirthYearAndGender').click()
  await v.run()
  await v.says('30행 / 전체 30')
  assert.equal(await v.page.evaluate(() => document.documentElement.scrollWidth), 390)
  await v.accessible('table, Korean, dark, phone')
  await v.picture('phone-table')
  await v.button('차트').click()
  await v.page.getByRole('img', { name: /birthYear, gender/ }).waitFor()
  await v.accessible('chart, Korean, dark, phone')
  await v.page.locator('.results').scrollIntoViewIfNeeded()
  await v.picture('phone-chart')
  await v.page.getByLabel('언어').selectOption('en')
  await v.says('Signed in as Admin.')
  assert.equal(await v.page.locator('html').getAttribute('lang'), 'en')
  await v.run()
  await v.says('30 rows of 30')
  assert.equal(v.requests.findLast((request) => request.method() === 'POST').headers()['accept-language'], 'en')
  await v.leave()
}

// A hospital's server: nothing is shown to who has no token, and everything to who has.
async function hospital() {
  const v = await Visitor.at(`${HOSPITAL}/`)
  const signIn = async (token) => {
    await v.page.getByLabel('Access token').fill(token)
    await v.button('Sign in').click()
  }
  await v.says('It also brings the documentation')
  assert.equal(await v.button('Admin').count(), 0)
  assert.equal(await v.page.locator('.examples option[value=Success]').count(), 0)
  await v.accessible('signed out')
  for (const token of ['nonsense', SHORT]) {
    await signIn(token)
    await v.says('The server refused this token')
  }
  await v.accessible('refused')
  await signIn(`Bearer ${TOKEN}`)
  await v.says('Signed in as Analyst.')
  await v.page.getByRole('button', { name: 'Show Documentation Explorer' }).click()
  await v.page.locator('.graphiql-doc-explorer-content').getByText('Query', { exact: true }).first().waitFor()
  await v.run()
  await v.says('2 rows of 2')
  for (const request of v.requests) assert.ok(request.url().startsWith(`${HOSPITAL}/`) || !request.url().startsWith('http'), request.url())
  await v.leave(/status of 401/) // which the browser itself logs
}

const all = { analyst, pages, spreadsheet, developer, korean, hospital }
for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(all)) {
  await all[name]().catch((error) => {
    error.message = `${name}: ${error.message}`
    throw error
  })
}
await browser.close()
