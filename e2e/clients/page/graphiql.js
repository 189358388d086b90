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
    // Monaco rejects what it calls off when an editor goes; nobody waits for it.
    v.page.on('pageerror', (error) => error.message === 'Canceled' || v.wrong.push(error.message))
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

  editor = () => this.page.locator('.graphiql-query-editor .view-lines').textContent()
  paper = () => this.page.locator('body').evaluate((body) => getComputedStyle(body).backgroundColor)

  // answers is what every query is answered from now on.
  answers = (json, status = 200) => this.page.route('**/graphql', (route) => route.fulfill({ json, status }))

  async theme(name) {
    await this.page.getByRole('button', { name: 'Open settings dialog' }).click()
    await this.button(name).click()
    await this.page.keyboard.press('Escape')
  }

  async download(name) {
    const [download] = await Promise.all([this.page.waitForEvent('download'), this.button(name).click()])
    return { name: download.suggestedFilename(), text: await readFile(await download.path(), 'utf8') }
  }

  // accessible: nothing serious is wrong with what is ours; GraphiQL's own parts are its makers'.
  async accessible(what) {
    if (!await this.page.evaluate(() => 'axe' in window)) await this.page.evaluate(axe.source) // by the debugger, which the policy does not bind
    const { violations } = await this.page.evaluate(() => window.axe.run({ include: [['.bar'], ['.results']] }, { resultTypes: ['violations'] }))
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
  await v.says('Press ▶ (Ctrl-Enter) to run.')
  assert.match(await v.editor(), /Patients.by.birth.year/)
  assert.doesNotMatch(await v.editor(), /[가-힣]|role:/)
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
  assert.equal(counts.name, 'BirthYearAndGender-counts.csv')
  assert.match(counts.text, /^\ufeff"birthYear","FEMALE","MALE","(OTHER|UNKNOWN)","(OTHER|UNKNOWN)","Count"\r\n/)
  assert.equal(counts.text.trim().split('\r\n').slice(1).reduce((sum, line) => sum + Number(line.match(/"(\d+)"$/)[1]), 0), 30)
  await v.page.getByLabel('Count by').selectOption('gender')
  await v.page.getByRole('img', { name: '30 rows counted by gender' }).waitFor()
  await v.button('JSON').click()
  await v.json('"birthYear":')

  await v.page.getByRole('button', { name: 'Show editor tools' }).waitFor()
  for (const name of ['NotSynced', 'Stale', 'ChangedSince', 'DeIdentified']) {
    await v.example(name)
    if (name === 'ChangedSince') await v.page.getByRole('button', { name: 'Hide editor tools' }).waitFor() // it has variables
    await v.tab(name).waitFor()
    await v.button('JSON').click()
    await v.run()
    await v.json('"totalCount":')
  }
  await v.button('Table').click()
  await v.says('30 rows of 30')

  await v.tab('Stale').click()
  await v.says('patients: 0 rows of 0') // not of what stands beside them
  assert.match(await v.page.locator('.results .beside').innerText(), /^mirror\.state\s+mirror\.lagSeconds\s/)
  await v.picture('beside')

  assert.equal(await v.paper(), 'rgb(255, 255, 255)')
  await v.theme('Dark') // where the system is light
  assert.notEqual(await v.paper(), 'rgb(255, 255, 255)')
  await v.accessible('table, dark by choice')
  await v.picture('dark')
  await v.theme('Light')
  assert.equal(await v.paper(), 'rgb(255, 255, 255)')

  const why = 'hidden from the role analyst'
  assert.equal(await v.page.getByText(why).count(), 0)
  await v.page.evaluate(() => (location.hash = `#query=${encodeURIComponent('query Hidden { patients(first: 2) { nodes { id called: fullName } } }')}`))
  await v.tab('Hidden').waitFor()
  await v.run()
  await v.says(why)
  assert.equal(await v.page.locator('.results td').nth(1).innerText(), 'null')
  await v.accessible('hidden')
  await v.picture('hidden')
  await v.button('Doctor').click()
  await v.run()
  await v.page.locator('.results td .null').waitFor({ state: 'detached' })
  await v.says('2 rows; there may be more')
  assert.equal(await v.page.getByText(why).count(), 0)

  await v.button('Patient P-2025-000001').click() // who is not shown what another role was, in no tab
  await v.says('Reads one record')
  for (const name of ['Stale', 'DeIdentified', 'BirthYearAndGender']) {
    await v.tab(name).click()
    await v.editorHas(name)
    await v.says('Press ▶ (Ctrl-Enter) to run.')
    assert.equal(await v.button('Download CSV').count(), 0)
    assert.equal(await v.rows().count(), 0)
    await v.button('JSON').click()
    assert.equal(await v.page.locator('.result-window .view-lines').innerText(), '')
  }
  await v.page.evaluate(() => (location.hash = `#query=${encodeURIComponent('query Mine { viewer { patientIds } }')}`))
  await v.tab('Mine').waitFor()
  for (const number of ['P-2025-000004', 'P-2025-000001']) {
    await v.button(`Patient ${number}`).click()
    await v.run()
    await v.json(`"${number}"`)
  }
  await v.leave()
}

// What an answer may be: too wide, in part, none at all, and with what nobody has a value of.
async function answers() {
  const v = await Visitor.at(`${DEMO}/`)
  const split = () => v.page.locator('.graphiql-editors').evaluate((element) => element.getBoundingClientRect().width)
  const before = await split()
  const wide = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`column${i}`, 'x'.repeat(20)]))
  await v.answers({ data: { patients: { nodes: [wide] } } })
  await v.run()
  await v.says('1 row')
  assert.equal(await split(), before)
  assert.ok(await v.page.getByRole('region', { name: 'Table', exact: true }).evaluate((table) => table.scrollWidth > table.clientWidth))
  assert.equal(await v.page.evaluate(() => document.documentElement.scrollWidth), 1280)
  await v.picture('wide')

  const why = 'nothing is known of the phone'
  await v.answers({ data: { patients: { nodes: [{ id: 'P-1', phone: null }] }, mirror: { state: 'FOLLOWING' } }, errors: [{ message: why, locations: [{ line: 3, column: 5 }] }, { message: why, locations: [{ line: 3, column: 5 }] }] })
  await v.run()
  for (const view of ['Table', 'Chart', 'JSON']) {
    await v.button(view).click()
    await v.page.getByRole('alert').getByText(`${why} (line 3)`).waitFor()
    assert.equal(await v.page.getByRole('alert').getByText(why).count(), 1)
    await v.accessible(`partial, ${view}`)
  }
  await v.button('Table').click()
  await v.page.locator('.results .beside').getByText('FOLLOWING').waitFor()
  await v.picture('partial')
  await v.page.unroute('**/graphql')
  await v.button('Sign out').click()
  await v.button('Table').click()
  await v.run()
  await v.page.getByRole('alert').getByText(/sign|token/i).waitFor()
  assert.equal(await v.page.getByText('This answer has no rows').count(), 0)
  await v.picture('refused')

  await v.answers({ data: { patients: { nodes: [{ year: 1990, gender: 'MALE' }, { year: null, gender: null }, { year: -5, gender: 'MALE' }] } } })
  await v.run()
  await v.says('3 rows')
  await v.button('Chart').click()
  await v.page.getByRole('img', { name: '3 rows counted by year, gender' }).getByText('no year').waitFor()
  assert.equal((await v.download('Download CSV')).text,
    '\ufeff"year","MALE","no gender","Count"\r\n"-5","1","0","1"\r\n"1990","1","0","1"\r\n"no year","0","1","1"\r\n')
  await v.picture('no-year')
  await v.leave(/status of 401/)
}

// What was done is said where it moves nothing, and not for long.
async function said() {
  for (const viewport of [{ width: 1280, height: 800 }, { width: 480, height: 844 }]) { // on the second the message is longer than what it replaces
    const v = await Visitor.at(`${DEMO}/`, { viewport })
    const place = () => v.page.locator('main').evaluate((main) => main.getBoundingClientRect().top)
    await v.says('Signed in as Admin.')
    const before = await place()
    await v.button('Copy link').click()
    await v.says('It never holds variables or the token.')
    assert.equal(await place(), before)
    await v.picture(`said-${viewport.width}`)
    await v.says('Signed in as Admin.')

    await v.run()
    await v.says('30 rows of 30')
    const table = () => v.page.getByRole('region', { name: 'Table' }).evaluate((table) => table.offsetTop)
    const above = await table()
    await v.button('Copy CSV').click()
    await v.says('Copied.')
    assert.equal(await table(), above)
    await v.picture(`copied-${viewport.width}`)
    await v.page.getByText('Copied.').waitFor({ state: 'hidden' })
    await v.leave()
  }
}

// Pages: all of them, as many as there are until one stops, and none of another query.
async function pages() {
  const v = await Visitor.at(shared(DEMO, 'query Few { some: patients(first: 4) { edges { node { id birthYear address { city } } } } }'))
  await v.run()
  await v.says('4 rows; there may be more')
  assert.deepEqual(await v.page.locator('.results th').allTextContents(), ['id', 'birthYear', 'address.city'])
  await v.button('Load all pages').click()
  await v.page.getByText(/^30 rows\s*$/).waitFor()
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
  for (const [total, offered] of [[2, 0], [3, 1]]) {
    await v.answers({ data: { patients: { totalCount: total, nodes: [{ id: 'P-1' }, { id: 'P-2' }] } } })
    await v.run()
    await v.page.getByText(total === 2 ? /^2 rows of 2\s*$/ : /^2 rows of 3 · More follow/).waitFor()
    assert.equal(await v.button('Load all pages').count(), offered)
  }
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

  const harmless = { weight: -3, text: '3-4', mark: 'a=b' }
  const formulas = { a: ' =1+1', b: '+82 10-1234-5678', c: '\u3000＝1', d: '\u200b\u0001-1', e: '\t1', f: '\r1', g: '＋1', h: ' －1', i: '＠A1', j: '\u00a0@A1' }
  await v.answers({ data: { patients: { nodes: [{ ...harmless, ...formulas }] } } })
  await v.run()
  await v.says('1 row')
  const cells = [...Object.values(harmless), ...Object.values(formulas).map((text) => `'${text}`)]
  const { text } = await v.download('Download CSV')
  assert.equal(text, `\ufeff"${Object.keys({ ...harmless, ...formulas }).join('","')}"\r\n"${cells.join('","')}"\r\n`)
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
  await v.says('Waiting for a change…')
  await v.picture('waiting')
  const other = await Visitor.at(shared(DEMO, 'mutation Other { updatePatientContact(input: { patientId: "P-2025-000001", phone: "010-7777-7777" }) { __typename } }'))
  await other.run()
  await other.json('UpdatePatientContactSuccess')
  await other.leave()
  await v.json('010-7777-7777')
  assert.equal(await v.page.getByText('Waiting for a change…').count(), 0)
  const [ended] = await Promise.all([v.page.waitForEvent('requestfailed'), v.example('ChangedSince')])
  assert.equal(ended, stream)
  await v.editorHas('ChangedSince')
  await v.run()
  await v.says(/\d rows of/)

  let held // its answer does not come into another tab
  const asked = new Promise((resolve) => (held = resolve))
  await v.page.route('**/graphql', (route) => held(route))
  await v.run()
  await asked
  const [dropped] = await Promise.all([v.page.waitForEvent('requestfailed'), v.example('NotSynced')])
  assert.match(dropped.postData(), /ChangedSince/)
  await v.editorHas('NotSynced')
  await v.says('Press ▶ (Ctrl-Enter) to run.')
  await v.page.unroute('**/graphql')
  await v.run()
  await v.says('1 row of 1')

  await v.tab('ChangedSince').click()
  await v.button('Copy link').click()
  await v.says('the query, with the values written in it')
  const link = await v.page.evaluate(() => navigator.clipboard.readText())
  assert.equal(link, v.page.url())
  assert.match(decodeURIComponent(link), /query ChangedSince/)
  assert.doesNotMatch(decodeURIComponent(link), /2025-01-01|eyJ/)
  for (const options of [{}, { viewport: { width: 390, height: 844 } }]) { // who opens it sees what is missing
    const guest = await Visitor.at(link, options)
    await guest.page.getByRole('button', { name: 'Hide editor tools' }).waitFor()
    await guest.page.locator('.graphiql-editor-tool .view-lines').filter({ hasText: /^\{\s*"since":\s*""\s*\}$/ }).waitFor()
    await guest.picture(`variables-${guest.page.viewportSize().width}`)
    await guest.leave()
  }
  await v.tab('Watch').click()
  await v.says('Stopped, as this tab was left.')
  const [again] = await Promise.all([v.page.waitForRequest((request) => request.headers().accept === 'text/event-stream'), v.run()])
  await again.response()
  await v.says('Waiting for a change…')
  await Promise.all([v.page.waitForEvent('requestfailed'), v.tab('ChangedSince').click()])
  await v.tab('Watch').click()
  await v.says('Stopped, as this tab was left.')
  const [third] = await Promise.all([v.page.waitForRequest((request) => request.headers().accept === 'text/event-stream'), v.run()])
  await third.response()
  const [cut] = await Promise.all([v.page.waitForEvent('requestfailed'), v.button('Sign out').click()])
  assert.equal(cut, third)
  await v.says('Not signed in: choose a role or paste an access token to run queries.')
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
  await v.editorHas('출생')
  assert.doesNotMatch(await v.editor(), /Patients.by|role:/)
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
  await v.editorHas('Patients')
  assert.doesNotMatch(await v.editor(), /[가-힣]/)
  await v.tab('Rejected').click()
  await v.editorHas('refuses')
  await v.tab('BirthYearAndGender').click()
  await v.run()
  await v.says('30 rows of 30')
  assert.equal(v.requests.findLast((request) => request.method() === 'POST').headers()['accept-language'], 'en')
  await v.theme('Light') // where the system is dark
  assert.equal(await v.paper(), 'rgb(255, 255, 255)')
  await v.leave()
}

// A phone is tapped: nothing of the editor lies over the results.
async function phone() {
  const v = await Visitor.at(`${DEMO}/`, { hasTouch: true, isMobile: true, viewport: { width: 390, height: 844 } })
  await v.example('ChangedSince') // its variables open the pane below the query, which shrinks the editor
  await v.page.getByRole('button', { name: 'Hide editor tools' }).waitFor()
  await v.editorHas('ChangedSince')
  await v.run()
  await v.says(/\d rows of/)
  const tap = async (name) => {
    const button = v.button(name)
    await button.scrollIntoViewIfNeeded()
    const { x, y, height } = await button.boundingBox()
    await v.page.touchscreen.tap(x + 12, y + height / 2) // where the gutter hung
    await button.and(v.page.locator('[aria-pressed=true]')).waitFor()
  }
  for (const name of ['Chart', 'Table', 'JSON']) await tap(name)
  await v.picture('phone-tapped')
  for (const name of ['NotSynced', 'Stale', 'DeIdentified']) {
    await v.example(name)
    await v.tab(name).waitFor()
    // Of the tabs that are open, whose strip is too narrow for them, this is the one that is seen.
    await v.page.waitForFunction(() => {
      const [strip, tab] = ['.graphiql-tabs', '.graphiql-tab-active'].map((selector) => document.querySelector(selector).getBoundingClientRect())
      return tab.left >= strip.left - 1 && tab.right <= strip.right + 1
    })
  }
  await v.picture('phone-tabs')
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
  for (const [token, why] of [['nonsense', 'the token is invalid'], [SHORT, 'the token has expired']]) {
    await signIn(token)
    await v.says(`The server refused this token: ${why}.`)
  }
  await v.accessible('refused')
  await signIn(`Bearer ${TOKEN}`)
  await v.says('Signed in as Analyst.')
  await v.page.getByRole('button', { name: 'Show Documentation Explorer' }).click()
  await v.page.locator('.graphiql-doc-explorer-content').getByText('Query', { exact: true }).first().waitFor()
  await v.run()
  await v.says('2 rows of 2')
  await signIn('nonsense') // a slip does not end the session that was there
  await v.says('The pasted token was not accepted: the token is invalid. Signed in as Analyst.')
  await v.accessible('paste refused')
  await v.says('2 rows of 2')
  await v.run()
  await v.says('2 rows of 2')
  await signIn(TOKEN)
  await v.says('Press ▶ (Ctrl-Enter) to run.')
  assert.equal(await v.page.getByText('was not accepted').count(), 0)
  for (const request of v.requests) assert.ok(request.url().startsWith(`${HOSPITAL}/`) || !request.url().startsWith('http'), request.url())
  await v.leave(/status of 401/) // which the browser itself logs
}

const all = { analyst, answers, said, pages, spreadsheet, developer, korean, phone, hospital }
for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(all)) {
  await all[name]().catch((error) => {
    error.message = `${name}: ${error.message}`
    throw error
  })
}
await browser.close()
