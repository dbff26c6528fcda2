import type { TestDatabase } from './postgres-database.ts'

/**
 * Everything that makes the tables of a schema what they are, one sentence for each thing, with the name of the schema
 * left out: two schemas that say the same are the same.
 */
export async function catalogOf({ sql }: Pick<TestDatabase, 'sql'>, schema: string): Promise<string[]> {
  const rows = await sql<{ what: string }>(catalogSql, schema)
  return rows.map(({ what }) => what.replaceAll(`${schema}.`, '')).toSorted()
}

const catalogSql = `
with n as (select oid from pg_namespace where nspname = $1),
     c as (select * from pg_class where relnamespace = (select oid from n))
select format('relation %s %s persists %s options %s access %s identity %s rowsecurity %s', c.relkind, c.relname,
         c.relpersistence, c.reloptions, (select amname from pg_am where oid = c.relam), c.relreplident, c.relrowsecurity) as what
  from c
union all
select format('column %s %s %s %s collate %s null %s identity %s generated %s default %s storage %s compression %s statistics %s',
         c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
         (select collname from pg_collation where oid = a.attcollation), not a.attnotnull, a.attidentity, a.attgenerated,
         (select pg_get_expr(adbin, adrelid) from pg_attrdef where adrelid = c.oid and adnum = a.attnum), a.attstorage,
         a.attcompression, a.attstattarget)
  from c join pg_attribute a on a.attrelid = c.oid where a.attnum > 0 and not a.attisdropped
union all
select format('constraint %s %s %s %s valid %s deferrable %s', c.relname, k.conname, k.contype, pg_get_constraintdef(k.oid),
         k.convalidated, k.condeferrable)
  from c join pg_constraint k on k.conrelid = c.oid
union all
select format('index %s unique %s valid %s %s', i.indexrelid::regclass, i.indisunique, i.indisvalid, pg_get_indexdef(i.indexrelid))
  from c join pg_index i on i.indrelid = c.oid
union all
select format('trigger %s %s enabled %s %s', c.relname, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid))
  from c join pg_trigger t on t.tgrelid = c.oid where not t.tgisinternal
union all
select format('function %s', pg_get_functiondef(p.oid)) from pg_proc p where p.pronamespace = (select oid from n)
union all
select format('sequence %s %s %s %s %s %s %s', s.seqrelid::regclass, format_type(s.seqtypid, null), s.seqstart, s.seqincrement,
         s.seqmax, s.seqmin, s.seqcycle)
  from c join pg_sequence s on s.seqrelid = c.oid
union all
select format('rule %s', pg_get_ruledef(r.oid)) from c join pg_rewrite r on r.ev_class = c.oid
union all
select format('policy %s %s', c.relname, p.polname) from c join pg_policy p on p.polrelid = c.oid
union all
select format('type %s %s', t.typname, t.typtype) from pg_type t where t.typnamespace = (select oid from n) and t.typelem = 0
union all
select format('comment %s %s', c.relname, d.description) from c join pg_description d on d.objoid = c.oid`
