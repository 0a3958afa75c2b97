// What each builder method of @supabase/postgrest-js is run with, and what the library must answer.
// A case is [build, expected, refusals]: `expected` is the data, or a check of the whole answer; `refusals` name the code by which an
// engine refuses it. Writes are rolled back, which is a method of the client too.

const books = (c) => c.from('books').select('id').order('id')
const loans = (c) => c.from('loans').select('id').order('id')
const ids = (...wanted) => wanted.map((id) => ({ id }))

const NOT_ON_SQLITE = { sqlite: '0A000' }
const NO_TABLE = { sqlite: 'PGRST205' }
const NO_FUNCTION = { sqlite: 'PGRST202' }
const everywhere = (code) => ({ sqlite: code, postgres: code })
const NEW = { id: 9, title: 'New', author_id: 3 }

export const cases = {
  eq: [
    [(c) => books(c).eq('title', 'a,b (c) "d"'), ids(3)],
    [(c) => books(c).eq('detail->>lang', 'en'), ids(1, 4)],
    [(c) => books(c).eq('published', '1843-09-01T12:00:00+02:00'), ids(1)],
  ],
  neq: [[(c) => books(c).neq('id', 1), ids(2, 3, 4)]],
  gt: [[(c) => books(c).gt('price', 7), ids(1, 4)]],
  gte: [[(c) => books(c).gte('price', 7), ids(1, 3, 4)]],
  lt: [[(c) => books(c).lt('pages', 130), ids(1, 3)]],
  lte: [[(c) => books(c).lte('pages', 130), ids(1, 2, 3)]],
  like: [[(c) => books(c).like('title', '%Notes'), ids(1, 2)]],
  likeAllOf: [[(c) => books(c).likeAllOf('title', ['%Notes', 'More%']), ids(2)]],
  likeAnyOf: [[(c) => books(c).likeAnyOf('title', ['Notes', 'More%']), ids(1, 2)]],
  ilike: [[(c) => books(c).ilike('title', '%NOTES'), ids(1, 2)]],
  ilikeAllOf: [[(c) => books(c).ilikeAllOf('title', ['%notes', 'more%']), ids(2)]],
  ilikeAnyOf: [[(c) => books(c).ilikeAnyOf('title', ['notes', 'more%']), ids(1, 2)]],
  regexMatch: [[(c) => books(c).regexMatch('title', '^More'), ids(2)]],
  regexIMatch: [[(c) => books(c).regexIMatch('title', '^more'), ids(2)]],
  is: [
    [(c) => books(c).is('price', null), ids(2)],
    [(c) => books(c).is('in_print', true), ids(1, 3)],
  ],
  isDistinct: [[(c) => books(c).isDistinct('price', 7), ids(1, 2, 4)]],
  in: [
    [(c) => books(c).in('title', ['a,b', 'Notes']), ids(1)],
    [(c) => books(c).in('id', [2, 4, 9]), ids(2, 4)],
  ],
  notIn: [[(c) => books(c).notIn('id', [2, 4]), ids(1, 3)]],
  contains: [
    [(c) => books(c).contains('tags', ['maths', 'engine']), ids(1)],
    [(c) => books(c).contains('detail', { lang: 'en' }), ids(1, 4)],
    [(c) => loans(c).contains('during', '[2,3)'), ids(1), NO_TABLE],
  ],
  containedBy: [
    [(c) => books(c).containedBy('tags', ['maths', 'x']), ids(2, 3)],
    [(c) => books(c).containedBy('detail', { lang: 'fr', n: 2, x: 1 }), ids(2)],
  ],
  rangeGt: [[(c) => loans(c).rangeGt('during', '[1,15)'), ids(3), NO_TABLE]],
  rangeGte: [[(c) => loans(c).rangeGte('during', '[5,15)'), ids(2, 3), NO_TABLE]],
  rangeLt: [[(c) => loans(c).rangeLt('during', '[15,20)'), ids(1), NO_TABLE]],
  rangeLte: [[(c) => loans(c).rangeLte('during', '[0,20)'), ids(1, 2), NO_TABLE]],
  rangeAdjacent: [[(c) => loans(c).rangeAdjacent('during', '[20,30)'), ids(2, 3), NO_TABLE]],
  overlaps: [
    [(c) => books(c).overlaps('tags', ['engine', 'x y']), ids(1, 4)],
    [(c) => loans(c).overlaps('during', '[5,15)'), ids(1, 2), NO_TABLE],
  ],
  textSearch: [
    [(c) => books(c).textSearch('title', 'notes', { config: 'english' }), ids(1, 2), NOT_ON_SQLITE],
    [(c) => books(c).textSearch('title', 'more notes', { type: 'phrase', config: 'simple' }), ids(2), NOT_ON_SQLITE],
    [(c) => books(c).textSearch('title', 'notes', { type: 'plain' }), ids(1, 2), NOT_ON_SQLITE],
    [(c) => books(c).textSearch('title', 'notes or nobody -engine', { type: 'websearch' }), ids(1, 2, 4), NOT_ON_SQLITE],
  ],
  match: [[(c) => books(c).match({ pages: 65, in_print: true }), ids(1, 3)]],
  not: [
    [(c) => books(c).not('price', 'is', null), ids(1, 3, 4)],
    [(c) => books(c).not('id', 'in', '(1,2)'), ids(3, 4)],
  ],
  or: [[(c) => books(c).or('id.eq.1,and(pages.gt.100,in_print.is.false)'), ids(1, 2)]],
  filter: [
    [(c) => books(c).filter('detail->deep->a->>0', 'eq', '1'), ids(1)],
    [(c) => books(c).filter('id', 'eq(any)', '{1,3}'), ids(1, 3)],
  ],
  select: [
    [(c) => c.from('books').select('id', { count: 'exact' }).lt('id', 3), (a) => a.count === 2 && a.status === 200],
    [(c) => c.from('books').select('*', { count: 'exact', head: true }), (a) => a.count === 4 && a.data === null],
    [(c) => c.from('books').select('title, size:pages::text').eq('id', 1), [{ title: 'Notes', size: '65' }]],
    [(c) => c.from('nothing').select(), undefined, everywhere('PGRST205')],
  ],
  insert: [
    [(c) => c.from('books').insert(NEW).select('id,pages,published').rollback(), [{ id: 9, pages: 100, published: null }]],
    [(c) => c.from('books').insert(NEW).rollback(), (a) => a.status === 201 && a.data === null],
    [
      (c) => c.from('books').insert([NEW, { id: 10, title: 'T', pages: 5 }]).select('id,pages').rollback(),
      [{ id: 9, pages: null }, { id: 10, pages: 5 }],
    ],
    [
      (c) => c.from('books').insert([NEW, { id: 10, title: 'T', pages: 5 }], { defaultToNull: false }).select('id,pages').rollback(),
      [{ id: 9, pages: 100 }, { id: 10, pages: 5 }],
    ],
    [(c) => c.from('books').insert([NEW], { count: 'exact' }).rollback(), (a) => a.count === 1],
    [(c) => c.from('books').insert({ ...NEW, id: 1 }).rollback(), undefined, everywhere('23505')],
    [(c) => c.from('books').insert({ ...NEW, author_id: 77 }).rollback(), undefined, everywhere('23503')],
    [(c) => c.from('books').insert({ id: 9 }).rollback(), undefined, everywhere('23502')],
    [(c) => c.from('books').insert({ ...NEW, pages: -1 }).rollback(), undefined, everywhere('23514')],
    [(c) => c.from('books').insert({ ...NEW, pages: 'many' }).rollback(), undefined, everywhere('22P02')],
  ],
  upsert: [
    [
      (c) => c.from('books').upsert({ id: 1, title: 'Changed' }).select('id,title,pages').rollback(),
      [{ id: 1, title: 'Changed', pages: 65 }],
    ],
    [
      (c) => c.from('books').upsert([{ id: 1, title: 'Changed' }, NEW], { ignoreDuplicates: true }).select('id').rollback(),
      ids(9),
    ],
    [
      (c) => c.from('authors').upsert({ id: 8, name: 'Ada', born: '1999-01-01' }, { onConflict: 'name' }).select('id,born').rollback(),
      [{ id: 1, born: '1999-01-01' }],
    ],
    [(c) => c.from('books').upsert(NEW, { count: 'exact' }).rollback(), (a) => a.count === 1 && a.status === 201],
  ],
  update: [
    [(c) => c.from('books').update({ pages: 1 }).eq('id', 1).select('id,pages').rollback(), [{ id: 1, pages: 1 }]],
    [(c) => c.from('books').update({ pages: 1 }, { count: 'exact' }).eq('id', 9).rollback(), (a) => a.count === 0 && a.status === 204],
    [(c) => c.from('books').update({ pages: 1 }), undefined, everywhere('21000')],
  ],
  delete: [
    [(c) => c.from('books').delete({ count: 'exact' }).gt('id', 3).select('id').rollback(), (a) => a.count === 1 && a.data.length === 1],
    [(c) => c.from('books').delete(), undefined, everywhere('21000')],
  ],
  order: [
    [(c) => c.from('books').select('id').order('pages').order('id', { ascending: false }), ids(3, 1, 2, 4)],
    [(c) => c.from('books').select('id').order('price', { nullsFirst: true }), ids(2, 3, 1, 4)],
  ],
  limit: [[(c) => books(c).limit(2), ids(1, 2)]],
  range: [[(c) => books(c).range(1, 2), ids(2, 3)]],
  abortSignal: [[(c) => books(c).eq('id', 1).abortSignal(new AbortController().signal), ids(1)]],
  single: [
    [(c) => books(c).eq('id', 1).single(), { id: 1 }],
    [(c) => books(c).single(), undefined, everywhere('PGRST116')],
    [(c) => c.from('books').insert(NEW).select('id').single().rollback(), { id: 9 }],
    [(c) => c.from('books').update({ pages: 1 }).lt('id', 3).select('id').single(), undefined, everywhere('PGRST116')],
  ],
  maybeSingle: [
    [(c) => books(c).eq('id', 1).maybeSingle(), { id: 1 }],
    [(c) => books(c).eq('id', 9).maybeSingle(), null],
    [(c) => books(c).maybeSingle(), undefined, everywhere('PGRST116')],
  ],
  csv: [[(c) => c.from('books').select('id,title').lt('id', 3).csv(), 'id,title\n1,Notes\n2,More Notes\n']],
  geojson: [[(c) => books(c).geojson(), undefined, everywhere('PGRST107')]],
  rollback: [[(c) => c.from('books').delete().eq('id', 4).select('id').rollback(), ids(4)]],
  maxAffected: [
    [(c) => c.from('books').update({ pages: 1 }).lt('id', 3).maxAffected(2).select('id').rollback(), (a) => a.data.length === 2],
    [(c) => c.from('books').update({ pages: 1 }).lt('id', 4).maxAffected(2), undefined, everywhere('PGRST124')],
  ],
  stripNulls: [[(c) => c.from('books').select('id,price').eq('id', 2).stripNulls(), ids(2)]],
  throwOnError: [[(c) => books(c).eq('id', 1).throwOnError(), ids(1)]],
  setHeader: [[(c) => books(c).setHeader('Range', '1-2'), ids(2, 3)]],
  retry: [[(c) => books(c).eq('id', 1).retry(false), ids(1)]],
  returns: [[(c) => books(c).eq('id', 1).returns(), ids(1)]],
  overrideTypes: [[(c) => books(c).eq('id', 1).overrideTypes(), ids(1)]],
  rpc: [
    [(c) => c.rpc('add_them', { a: 1, b: 2 }), 3, NO_FUNCTION],
    [(c) => c.rpc('add_them', { a: 1 }, { get: true }), 11, NO_FUNCTION],
    [(c) => c.rpc('loans_of', { book: 1 }).select('id').gt('id', 1).order('id'), ids(2, 3), NO_FUNCTION],
    [(c) => c.rpc('loans_of', { book: 1 }, { count: 'exact', head: true }), (a) => a.count === 3 && a.data === null, { sqlite: null }],
    [(c) => c.rpc('loans_of', { book: 1 }, { get: true }).select('id').eq('id', 2).single(), { id: 2 }, NO_FUNCTION],
    [(c) => c.rpc('hidden_one'), undefined, everywhere('PGRST202')],
  ],
  getOpenApiSpec: [[(c) => c.getOpenApiSpec(), (a) => '/books' in a.data.paths]],
  // A plan is for who has `admin`, and is no text: EXPLAIN's own tells of values, and of rows of other tenants.
  explain: [[(c) => books(c).explain(), undefined, everywhere('PGRST107')]],
  schema: [
    [(c) => c.schema('annex').from('maps').select('name'), [{ name: 'Atlas' }], { sqlite: 'PGRST106' }],
    [(c) => c.schema('public').from('books').select('id').eq('id', 1), ids(1)],
  ],
}

// Methods that are part of every case, or that need no server.
export const part_of_every_case = {
  from: 'every case begins with it',
  then: 'it is what sends a request',
  processResponse: 'it reads every answer',
  cloneRequestState: 'select, insert, update and delete begin with it; it is private',
  decorateFetch: 'the client wraps its fetch by it; it is private',
}
