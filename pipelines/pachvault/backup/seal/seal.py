"""The seal stage: records, checks, and the manifest, which is the only commit point of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pyarrow.compute as pc

from pachvault.backup import run_records
from pachvault.backup.backup_messages import Plan, PlannedRepo, Receipt
from pachvault.backup.missing_commits import summed_up
from pachvault.backup.seal.inherited_erasures import inherited
from pachvault.backup.seal.record_writer import (
    MAX_DEPTH,
    CommitRow,
    Exported,
    commit_rows,
    settle_branches,
    write_record,
)
from pachvault.errors import AbsentError, BusyError, CorruptError, DamageError, PachvaultError
from pachvault.format import documents, layout, table
from pachvault.format.documents import INDEX_HEALED, Manifest, PipelinesRecord, Problem, RepoEntry, Totals
from pachvault.format.ids import RepoName, digest
from pachvault.vault import blob_index, index_objects, pending_deletes, snapshots
from pachvault.vault.snapshots import RepoHistory, Snapshot, SnapshotName
from pachvault.vault.vault import Vault


def seal(vault: Vault, plan: Plan, receipts: Sequence[Receipt]) -> Snapshot:
    """Seal the snapshot of a run whose plan has status `work`; sealing again gives the same snapshot.

    Raises PachvaultError where a receipt is missing or is of another run, DamageError where an object
    that the snapshot needs is not what was written. Nothing is sealed then.
    """
    if plan.frozen_at is None or plan.freeze_began_at is None or plan.cluster is None:
        raise PachvaultError(f"a plan with status {plan.status} seals nothing")
    sealed = _sealed_before(vault, plan)
    if sealed is not None:
        if run_records.is_announced(
            vault, plan.run_id
        ):  # it was killed before it could look at its own times
            run_records.check_sealed(vault, plan.run_id, sealed.name.path)
            run_records.finish(vault, plan.run_id)
        return sealed
    vault = pending_deletes.for_writing(vault)
    _check_receipts(plan, receipts)
    exported = _exported(receipts)
    problems = list(plan.problems)
    told = {(problem.repo, problem.commit) for problem in problems if problem.commit}
    entries = []
    tables: set[bytes] = set()
    for planned in plan.repos:
        entry, found, history = _repo(vault, planned, exported.get(planned.name, {}))
        entries.append(entry)
        tables.update(table.tables_of(history.commits))
        problems.extend(each for each in found if (each.repo, each.commit) not in told)
    _drop_bad_receipts(vault, receipts, problems)
    try:
        _check_objects(vault, receipts)
        _check_tables(vault, tables)
    except (DamageError, BusyError):
        for receipt in receipts:  # or the next run would take up what this one stumbled over
            run_records.drop_receipt(vault, receipt.key)
        run_records.check_age(vault, plan.run_id)  # what a run lacks that took too long was pruned: no damage
        raise
    problems = [*summed_up(problems), *_index_healed(vault), *_lost(vault)]
    pipelines = vault.put_record(PipelinesRecord(pipelines=plan.pipelines))
    erased = inherited(vault, [each.previous for each in plan.repos if each.previous is not None])
    sequence = snapshots.next_sequence(vault)
    manifest = Manifest(
        vault_id=vault.config.vault_id,
        run_id=plan.run_id,
        policy=plan.policy,
        cluster=plan.cluster,
        freeze_began_at=plan.freeze_began_at,
        frozen_at=plan.frozen_at,
        sealed_at=run_records.check_age(vault, plan.run_id),  # the last thing before the manifest
        sequence=sequence,
        partial=any(not problem.is_note for problem in problems),
        problems=problems,
        projects=plan.projects,
        repos=entries,
        pipelines=pipelines,
        totals=_totals(plan, receipts),
        erased=erased,
        grace_seconds=vault.config.grace_seconds,
    )
    data = documents.encode(manifest)
    path = layout.snapshot_path(plan.frozen_at, sequence, digest(data))
    vault.store.put(path, [data], len(data))
    vault.read(path)
    run_records.check_sealed(vault, plan.run_id, path)
    run_records.finish(vault, plan.run_id)
    name = SnapshotName(path, plan.frozen_at.replace(microsecond=0), digest(data).hex(), sequence)
    return Snapshot(vault, name, manifest)


def _sealed_before(vault: Vault, plan: Plan) -> Snapshot | None:
    for name in snapshots.names(vault):
        if plan.frozen_at is not None and name.frozen_at == plan.frozen_at.replace(microsecond=0):
            snapshot = snapshots.load(vault, name)
            if snapshot.manifest.run_id == plan.run_id:
                return snapshot
    return None


def _check_receipts(plan: Plan, receipts: Sequence[Receipt]) -> None:
    strangers = [receipt for receipt in receipts if receipt.run_id != plan.run_id]
    if strangers:
        raise PachvaultError(f"a receipt of run {strangers[0].run_id} came to run {plan.run_id}")
    if sorted(receipt.number for receipt in receipts) != list(range(plan.shares)):
        raise PachvaultError(f"{len(receipts)} receipts came for {plan.shares} shares", where=plan.run_id)


def _exported(receipts: Iterable[Receipt]) -> dict[RepoName, dict[str, Exported]]:
    """What the shares made of each commit, by repo and commit."""
    found: dict[RepoName, dict[str, Exported]] = {}
    for receipt in receipts:
        for item in receipt.items:
            commits = found.setdefault(RepoName(item.project, item.repo), {})
            was = commits.get(item.commit, Exported())
            commits[item.commit] = Exported(
                tables=(*was.tables, *item.tables),
                rows=was.rows + item.rows,
                bytes=was.bytes + item.bytes,
                problem=was.problem or item.problem,
                problem_kind=was.problem_kind if was.problem else item.problem_kind,
            )
    return found


def _repo(
    vault: Vault, planned: PlannedRepo, exported: dict[str, Exported]
) -> tuple[RepoEntry, list[Problem], RepoHistory]:
    previous = None
    if planned.previous is not None:
        previous = RepoHistory(vault, vault.repo_record(planned.previous))
    if planned.is_unchanged and previous is not None and planned.previous is not None:
        return _entry(planned, planned.previous, previous), [], previous
    rows, problems = commit_rows(planned, previous, exported)
    branches, missing = settle_branches(planned, rows)
    rows = _with_checkpoints(vault, planned.name, rows)
    name = write_record(vault, planned, previous, rows, branches)
    history = RepoHistory(vault, vault.repo_record(name))
    return _entry(planned, name, history), problems + missing, history


def _entry(planned: PlannedRepo, record: bytes, history: RepoHistory) -> RepoEntry:
    commits = history.commits
    sizes = dict(zip(commits["commit"].to_pylist(), commits["size"].to_pylist(), strict=True))
    heads = {branch.head for branch in history.record.branches if branch.head}
    return RepoEntry(
        project=planned.project,
        repo=planned.repo,
        record=record,
        branches=len(history.record.branches),
        commits=pc.sum(commits["listed"]).as_py() or 0,
        size_bytes=sum(sizes[head] for head in heads),
    )


def _with_checkpoints(vault: Vault, repo: RepoName, rows: list[CommitRow]) -> list[CommitRow]:
    """Rows of which none folds more than MAX_DEPTH deltas: deeper ones get a full table of their own."""
    done: dict[str, CommitRow] = {}
    for row in rows:
        base = done.get(row["base"]) if row["base"] else None
        row["depth"] = base["depth"] + 1 if base else 0
        done[row["commit"]] = row
        if row["depth"] > MAX_DEPTH:
            tree = table.fold(_layers(vault, repo, row, done))
            tree = tree.set_column(1, "commit", [[row["commit"]] * tree.num_rows])
            written = vault.put_table(table.encode_files(tree.cast(table.FILES))).digest
            row |= {"base": None, "depth": 0, "rows": tree.num_rows, "tables": [written]}
    needed: set[str] = set()
    for row in rows:
        current = row["commit"] if row["listed"] else None
        while current is not None and current not in needed:
            needed.add(current)
            current = done[current]["base"]
    return [row for row in rows if row["commit"] in needed]


def _layers(vault: Vault, repo: RepoName, row: CommitRow, done: dict[str, CommitRow]) -> list[object]:
    chain: list[CommitRow] = []
    current: str | None = row["commit"]
    while current is not None:
        chain.append(done[current])
        current = done[current]["base"]
    return [
        snapshots.rows_of(vault.file_table(name), repo, link["commit"])
        for link in reversed(chain)
        for name in link["tables"]
    ]


def _drop_bad_receipts(vault: Vault, receipts: Sequence[Receipt], problems: Sequence[Problem]) -> None:
    """Forget the kept receipts of commits that did not add up, so that the next run reads them again."""
    bad = {(problem.repo, problem.commit) for problem in problems if problem.commit}
    for receipt in receipts:
        if any((f"{item.project}/{item.repo}", item.commit) in bad for item in receipt.items):
            run_records.drop_receipt(vault, receipt.key)


def _check_tables(vault: Vault, tables: Iterable[bytes]) -> None:
    """Every file table that the records reach is there, inherited ones too: see known for their bytes."""
    listed = {info.name for info in vault.objects(layout.TABLES)}
    lost = [path for name in tables if (path := layout.table_path(name)) not in listed]
    if lost:
        raise AbsentError(
            f"{len(lost)} file tables have gone since the freeze: the run is not sealed",
            where=f"{vault.store.url}/{min(lost)}",
            hint="the next run exports their commits again",
        )


def _check_objects(vault: Vault, receipts: Sequence[Receipt]) -> None:
    """Every pack has its size, index and tables their bytes, and every blob of the tables a place.

    None of them is marked for deletion.
    """
    groups = (
        (layout.pack_path, (pack.digest for receipt in receipts for pack in receipt.packs)),
        (layout.index_path, (each.digest for receipt in receipts for each in receipt.index)),
        (layout.table_path, (each.digest for receipt in receipts for each in receipt.tables)),
    )
    marked = vault.avoid & {path(name) for path, names in groups for name in names}
    if marked:
        raise BusyError(
            "the object is marked for deletion since the run began: the run is not sealed",
            where=f"{vault.store.url}/{min(marked)}",
            hint="the next run stores again what it needs",
        )
    sizes = {pack.digest: pack.size for receipt in receipts for pack in receipt.packs}
    for name, size in sizes.items():
        _check_size(vault, name, size)
    for name in {each.digest for receipt in receipts for each in receipt.index}:
        vault.read(layout.index_path(name))
    names = {each.digest for receipt in receipts for each in receipt.tables}
    if not names:
        return
    index = blob_index.held(vault)  # without the packs that are missing, short or marked
    for name in names:
        wanted = vault.blobs_of_table(name)
        if index.has_all(wanted):
            continue
        if blob_index.held(replace(vault, avoid=frozenset())).has_all(wanted):
            raise BusyError(
                "a pack that the run relies on is marked for deletion since it began: the run is not sealed",
                where=layout.table_path(name),
                hint="the next run stores again what it needs",
            )
        raise CorruptError(
            "a blob of the table is in no pack that is there: the run is not sealed",
            where=layout.table_path(name),
        )


def _index_healed(vault: Vault) -> list[Problem]:
    """Place the blobs of packs that no index object is about: of a lost one, or of a run that died.

    The snapshot may rely on them (docs/format.md, 6.1).
    """
    rows = blob_index.unindexed(vault)
    if not len(rows):
        return []
    index_objects.write(vault, rows)
    message = f"{len(rows.packs)} packs were in no index object; one was written for them"
    return [Problem(repo="*", kind=INDEX_HEALED, message=message)]


def _lost(vault: Vault) -> list[Problem]:
    """What the vault has lost of what earlier runs stored, and this one relied on."""
    lost = blob_index.lost_packs(vault)
    if not lost:
        return []
    message = (
        f"{len(lost)} packs of the vault are missing or cut short, {lost[0]} for one: "
        "`pachvault verify` says what that hits, `pachvault repair` reads it again"
    )
    return [Problem(repo="*", kind="packs-lost", message=message)]


def _check_size(vault: Vault, name: bytes, size: int) -> None:
    path = layout.pack_path(name)
    found = vault.store.stat(path)
    if found is None or found.size != size:
        was = "missing" if found is None else f"{found.size} bytes long where {size} were written"
        raise CorruptError(f"the pack is {was}: the run is not sealed", where=f"{vault.store.url}/{path}")


def _totals(plan: Plan, receipts: Sequence[Receipt]) -> Totals:
    packs = {pack.digest: pack.size for receipt in receipts for pack in receipt.packs}
    return Totals(
        commits_new=sum(len(repo.new) for repo in plan.repos),
        files_read=sum(receipt.files_read for receipt in receipts),
        bytes_read=sum(receipt.bytes_read for receipt in receipts),
        files_known=sum(receipt.files_known for receipt in receipts),
        blobs_new=sum(receipt.blobs_new for receipt in receipts),
        bytes_new=sum(receipt.bytes_new for receipt in receipts),
        bytes_stored=sum(packs.values()),
        packs_new=len(packs),
        shares=plan.shares,
        shares_reused=sum(receipt.is_reused for receipt in receipts),
        freeze_seconds=plan.freeze_seconds,
        export_seconds=round(sum(receipt.seconds for receipt in receipts if not receipt.is_reused), 3),
    )
