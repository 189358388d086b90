// The states that the demo's own patients show.
import { check, focused, korean, say, tabTo } from './drive.js'
import { Visitor, chosen, conflict, docs, editAgain, list, notSavedAfterAll, refusedToken, rejected, saved, unknown, words } from './visitor.js'

const { DEMO } = process.env

export const demo = {
  // The demo, as an administrator.
  async demo() {
    const v = await Visitor.at(DEMO)
    check(await v.page.locator('html').getAttribute('lang') === say('en', 'ko'), 'the page is in another language')
    await v.state('sign-in')
    await v.signInWith('of.bad.news')
    await v.result(refusedToken)
    check(await v.text(say('You were signed out', '로그아웃되었습니다')).count() === 0, 'who never was signed in was signed out')
    await v.state('refused-token')
    await v.signInWith('한글 토큰') // which no header can carry
    await v.result(refusedToken)
    await v.signInWith(' ')
    await v.heading(refusedToken).waitFor({ state: 'detached' })
    const asked = v.page.waitForRequest(request => request.postDataJSON()?.operationName === 'Viewer')
    await v.signInWith('Bearer of.bad.news')
    check((await asked).headers().authorization === 'Bearer of.bad.news', 'the prefix is sent twice')
    await v.result(refusedToken)
    await v.signIn('admin')
    await v.text(say('20 of 30 shown', '30명 중 20명 표시')).waitFor()
    await v.state('list')
    await v.button(say('Load more', '더 보기')).click()
    await v.text(say('30 of 30 shown', '30명 중 30명 표시')).waitFor()
    await focused(v.page.locator('.patients a').nth(20))
    await v.page.getByRole('searchbox').fill('nobody')
    await v.text(say('No patient matches.', '일치하는 환자가 없습니다.')).waitFor()
    check(await v.text(/^0 |^환자 0명/).count() === 0, 'nobody is counted')
    await v.state('no-match')
    await v.page.getByRole('searchbox').fill('P-2025-000003')
    await v.page.getByRole('link', { name: /Jim Chalmers/ }).waitFor()
    await v.page.getByRole('searchbox').fill('010 1234 5678')
    await v.page.getByRole('link', { name: /홍길동/ }).waitFor()
    await v.page.getByRole('searchbox').fill('길동')
    await v.text(say('1 patient.', '환자 1명.')).waitFor()
    check(!/길동|%EA/i.test(v.page.url()), 'the address, which the browser keeps, says who is searched for')
    await v.state('search')
    await v.page.getByRole('link', { name: /홍길동/ }).click()
    await focused(v.heading('홍길동'))
    await v.text(say('Recorded by this service', '이 서비스에 등록된 내용')).waitFor()
    await v.text('서울특별시 강남구 테헤란로 152, 7층 701호 · 06236 · KR').waitFor()
    await v.state('profile')
    for (const back of [() => v.backTo(list).click(), () => v.page.goBack()]) {
      await back()
      await v.text(say('1 patient.', '환자 1명.')).waitFor()
      check(await v.page.getByRole('searchbox').inputValue() === '길동', 'the search is lost on the way back')
      await v.page.getByRole('link', { name: /홍길동/ }).click()
      await v.button(words.edit(words.contact)).waitFor()
    }

    await v.edit({})
    await focused(v.field(words.phone))
    check(await v.page.locator('.edit :is(input, textarea):not([autocomplete=off])').count() === 0, 'the browser fills in what it knows of somebody else')
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
    await v.text('서울특별시 강남구 테헤란로 152, 8층 · 06236 · KR').waitFor() // in the same form as before
    await v.state('saved')
    await docs(v, 'profile')

    await v.edit({ phone: '' }) // the next entry becomes the phone
    await v.save()
    await v.result(saved)
    await v.text(say('Phone: removed. The hospital’s record has another, which is shown now: 02-555-0123', '전화번호: 삭제되었습니다. 병원 기록에 있는 다른 값이 이제 표시됩니다: 02-555-0123')).waitFor()
    check(await v.text(say('The hospital’s record shows the new values.', '병원 기록에 새로운 값이 반영되었습니다.')).count() === 0, 'a value that nobody typed is called new')
    await v.state('removed-next')

    await v.ask('P-2025-000002', { phone: '010-3456-7890' }, saved)
    await v.text(say(/^Saved in this service alone/, /^이 서비스에만 저장되었습니다/)).waitFor()
    await v.state('saved-here')
    await v.ask('P-2025-000003', { phone: '02-1' }, rejected)
    await v.text('Invalid phone format').first().waitFor()
    check(await v.field(words.phone).getAttribute('aria-invalid') === 'true', 'the phone is not said to be at fault')
    await v.state('rejected')
    await v.ask('P-2025-000005', { phone: '010-5678-9012' }, say('Not saved: others keep changing this record', '저장되지 않았습니다. 다른 사람이 이 기록을 계속 변경하고 있습니다'))
    check(await v.page.locator('.panel, .note').count() === 1, 'one answer is told twice')
    check(await v.button(words.tryAgain).count() === 0, 'two buttons do the same')
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
    await v.text(say(/^You were offline: nothing was sent/, /이제 다시 연결되었습니다/)).waitFor()
    await v.state('online-again')
    await v.save()
    await v.result(saved)
    await v.leave()
  },

  // What the hospital itself has recorded as the emergency contact is not the page's to remove.
  async emptied() {
    const v = await Visitor.at(DEMO)
    const empty = { name: '', relationship: '', phone: '' }
    await v.signIn('admin')
    await v.profile('P-2025-000001')
    await v.edit(empty, words.emergency)
    await v.save()
    await v.result(saved)
    await v.text(say(/^The entry of this service is removed\./, /^이 서비스에 등록된 내용이 삭제되어/)).waitFor()
    await v.text(say('From the hospital’s record', '병원 기록에 있는 내용')).waitFor()
    await v.state('removed-here')
    await v.edit(empty, words.emergency)
    check(await v.text(say('Empty a field to remove its value.', '값을 삭제하려면 칸을 비워 주세요.')).count() === 0, 'it is said that the entry can be removed')
    await v.save()
    await v.text(say(/^Nothing was sent: the hospital’s own entry/, /^전송되지 않았습니다. 병원 기록에 있는 내용은/)).waitFor()
    await v.state('hospitals-entry')
    await v.field(words.name, words.emergency).fill('홍판서')
    await v.save()
    await v.result(saved)
    await v.text(say('The new emergency contact is recorded.', '새 비상 연락처가 등록되었습니다.')).waitFor()
    await v.leave()
  },

  // The demo's patient of whom FHIR answers no write, at home in their only record; then the
  // same before who may not know.
  async timeout() {
    const v = await Visitor.at(DEMO)
    await v.signIn('unheard', '이서준')
    check(await v.page.getByRole('link', { name: /←/ }).count() === 0, 'a list of one is offered')
    await v.edit({ phone: '010-4567-8901' })
    const known = await v.page.locator('.edit :is(input, textarea)').evaluateAll(all => all.map(input => input.autocomplete).join(' '))
    check(known === 'tel email street-address postal-code address-level2 address-level3 address-level1 country-name', `a patient's browser knows ${known}`)
    await v.state('own-record')
    await v.save()
    await v.heading(unknown).waitFor()
    await v.heading(notSavedAfterAll).waitFor()
    await v.text('010-4567-8901').waitFor() // what was to be saved
    check(await v.button(words.edit(words.contact)).count() === 0, 'two buttons edit')
    await v.state('not-saved-after-all')
    await v.button(editAgain).click()
    check(await v.field(words.phone).inputValue() === '010-4567-8901', 'what was asked for is not in the form')
    await v.save()
    await v.heading(unknown).waitFor()
    await v.page.reload()
    await v.signIn('doctor') // not who asked
    await v.profile('P-2025-000004')
    await v.heading(say('What became of a change cannot be told to this sign-in', '이 로그인으로는 변경 결과를 확인할 수 없습니다')).waitFor()
    await v.state('cannot-watch')
    await v.button(words.close).click()
    await v.leave()
  },

  // Somebody else, and who may do less.
  async others() {
    const [v, other] = [await Visitor.at(DEMO), await Visitor.at(DEMO)]
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
    check(await v.page.getByRole('radio', { checked: true }).count() === 0, 'the page has chosen')
    check(await v.button(chosen).isDisabled(), 'one may go on without a choice')
    await v.page.getByRole('listitem').getByText('mine@example.org').waitFor() // goes along
    await v.state('conflict')
    await docs(v, 'conflict')
    await v.page.getByText(say('Save yours', '입력한 값 저장')).click()
    await v.button(chosen).click()
    await v.result(saved)
    await v.text('010-1111-0001').waitFor()
    await v.text('mine@example.org').waitFor()

    await v.edit({ phone: '010-1111-0003' })
    await other.ask('P-2025-000007', { phone: '010-2222-0004' }, saved)
    await v.save()
    await v.result(conflict)
    await tabTo(v.page.getByRole('radio', { name: say('Keep theirs', '현재 값 유지') }))
    await v.page.keyboard.press('Space')
    await tabTo(v.button(chosen))
    await v.page.keyboard.press('Enter') // nothing is left to be saved
    await v.result(say('Nothing of yours was saved; theirs stays', '입력하신 내용은 저장되지 않았으며, 다른 사람이 변경한 값이 유지됩니다'))
    await v.text('010-2222-0004').waitFor()
    await v.state('kept-theirs')

    await v.edit({ name: '김정희', phone: '010-9' }, words.emergency)
    await other.ask('P-2025-000007', { name: '박정희' }, saved, words.emergency)
    await v.save()
    await v.result(conflict)
    await v.state('emergency-conflict')
    await v.page.getByText(say('Save yours', '입력한 값 저장')).click()
    await v.button(chosen).click()
    await v.result(saved)
    await v.text(/김정희/).waitFor()

    await other.leave()
    await v.signOut()
    await v.signIn('doctor')
    await v.profile('P-2025-000001')
    await v.text(say('You may read this record, but not change it.', '이 기록을 조회할 수는 있지만 수정할 수는 없습니다.')).first().waitFor()
    await v.state('doctor')
    await v.signOut()
    await v.signIn('analyst')
    await v.text(say('20 of 30 shown', '30명 중 20명 표시')).waitFor()
    await v.state('analyst-list')
    await v.profile('P-2025-000001')
    await v.text(say('Not shown to your role.', '이 역할에는 표시되지 않습니다.')).first().waitFor()
    await v.state('analyst')
    await v.leave()
  },

  // What was typed is lost only to who says so, on each way out.
  async unsaved() {
    const v = await Visitor.at(DEMO)
    const question = say('What was typed is not saved yet. Leave without saving?', '입력하신 내용이 아직 저장되지 않았습니다. 저장하지 않고 나가시겠습니까?')
    await v.signIn('admin')
    await v.page.getByRole('searchbox').fill('P-2025-000008')
    const link = v.page.getByRole('link', { name: /P-2025-000008/ })
    await link.click()
    await v.edit({})
    await v.backTo(list).click() // nothing is lost
    await link.click()
    await v.edit({ phone: '010-8888-0008' })
    const { asked } = v
    check(asked.length === 0, `who has typed nothing is asked: ${asked}`)
    v.stays = true
    const ways = {
      link: () => v.backTo(list).click(),
      back: () => v.page.goBack(),
      address: () => v.page.goto(`${DEMO}/app/#/patients/P-2025-000009`),
      'sign-out': () => v.signOut(),
      closing: () => v.page.close({ runBeforeUnload: true }),
    }
    for (const [way, go] of Object.entries(ways)) {
      const before = asked.length
      const dialog = v.page.waitForEvent('dialog')
      await go()
      await dialog
      check(asked.length === before + 1 && asked.at(-1) === (way === 'closing' ? 'beforeunload' : question), `${way}: asked is ${asked}`)
      check(await v.field(words.phone).inputValue() === '010-8888-0008', `${way}: what was typed is gone`)
      check(v.page.url().endsWith('P-2025-000008'), `${way}: the address is ${v.page.url()}`)
    }
    v.stays = false
    await v.backTo(list).click()
    await v.heading(list).waitFor()
    await link.click()
    await v.button(words.edit(words.contact)).waitFor()
    check(asked.length === 6, `asked is ${asked}`)
    await v.edit({ phone: '010-8888-0009' })
    await v.save()
    await v.result(saved)
    await v.signOut()
    await v.heading(say('Sign in', '로그인')).waitFor()
    check(asked.length === 6, `who has saved is asked: ${asked}`)
    await v.leave()
  },

  // A patient with a keyboard alone, from the sign-in to the saved change.
  async keyboard() {
    const v = await Visitor.at(DEMO)
    const press = key => v.page.keyboard.press(key)
    await tabTo(v.button(words.patient))
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
}
