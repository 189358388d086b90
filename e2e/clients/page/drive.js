// What the scripts of this folder drive the page with.
import axe from 'axe-core'
import { chromium } from 'playwright-core'

const { CHROMIUM, LANGUAGE, FRONT, EXAMPLE_SCREENSHOTS } = process.env

export const korean = LANGUAGE === 'ko'
export const say = (en, ko) => korean ? ko : en

const desktop = { width: 1280, height: 900 }
const phone = { width: 390, height: 844 }
// Both languages together have each size in light and in dark.
const looks = korean
  ? [{ size: desktop, scheme: 'dark' }, { size: phone, scheme: 'light' }]
  : [{ size: phone, scheme: 'dark' }, { size: desktop, scheme: 'light' }]

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
})
export const quit = () => browser.close()

export function check(good, what) {
  if (!good) throw new Error(what)
}

// open opens the page for one visitor. What the browser says of answers that a test has
// made bad is no fault of the page.
export async function open(url) {
  const context = await browser.newContext({ locale: say('en-GB', 'ko-KR'), viewport: looks[1].size, colorScheme: looks[1].scheme })
  context.setDefaultTimeout(45_000)
  const page = await context.newPage()
  const problems = []
  page.on('console', message => {
    if (['error', 'warning'].includes(message.type()) && !/^(Failed to load resource|WebSocket connection to)/.test(message.text())) problems.push(message.text())
  })
  page.on('pageerror', error => problems.push(error.stack))
  await page.addInitScript(() => document.addEventListener('securitypolicyviolation',
    event => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)))
  await page.goto(url)
  return { page, context, problems }
}

const states = new Set()

// state looks at the state that the page is in, from all sides: axe with the rules that it
// has, nothing beside the screen, nothing in the console.
export async function state(name, { page, problems }) {
  check(!states.has(name), `${name} is looked at twice`)
  states.add(name)
  for (const { size, scheme } of looks) {
    await page.setViewportSize(size)
    await page.emulateMedia({ colorScheme: scheme })
    const width = await page.evaluate(() => document.documentElement.scrollWidth)
    check(width <= size.width, `${name}: ${width} px wide on a screen of ${size.width}`)
    if (!await page.evaluate(() => 'axe' in window)) await page.evaluate(axe.source)
    const { violations, passes } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] })) // of the others one each
    check(passes.length > 10, `${name}: axe looked at nothing`)
    check(violations.length === 0, `${name}, ${size.width} px, ${scheme}: axe finds ${JSON.stringify(
      violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html, failureSummary }) => html + failureSummary) })), null, 1)}`)
    if (EXAMPLE_SCREENSHOTS) await page.screenshot({ path: `${EXAMPLE_SCREENSHOTS}/${name}-${LANGUAGE}-${size.width}-${scheme}.png`, fullPage: true })
  }
  check(problems.length === 0, `${name}: the console has ${problems.join('\n')}`)
}

export const seen = () => [...states]

// control makes something happen behind the page.
export async function control(what, id = 'x') {
  const response = await fetch(`${FRONT}/control/${what}/${id}`, { method: 'POST' })
  check(response.ok, `${what}: ${response.status}`)
}

export async function focused(locator) {
  await locator.and(locator.page().locator(':focus')).waitFor()
}

// tabTo goes to an element as who has no mouse does.
export async function tabTo(locator) {
  await locator.waitFor()
  for (let n = 0; n < 80; n++) {
    if (await locator.evaluate(element => element === document.activeElement)) return
    await locator.page().keyboard.press('Tab')
  }
  throw new Error(`no way leads to ${locator}`)
}
