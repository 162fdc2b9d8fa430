"""The seal stage: records, checks, and the manifest, which is the only commit point of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow.compute as pc

from pachvault.backup import run_records
from pachvault.backup.backup_messages import Plan, PlannedRepo, Receipt
from pachvault.backup.missing_commits import summed_up
from pachvault.backup.seal.inherited_erasures import inherited
from pachvault.backup.seal.record_writer import (
    Exported,
    commit_rows,
    settle_branches,
    with_checkpoints,
    write_record,
)
from pachvault.backup.seal.seal_checks import check_objects, check_receipts, check_tables
from pachvault.errors import BusyError, DamageError, PachvaultError
from pachvault.format import documents, layout, table
from pachvault.format.ids import RepoName, digest
from pachvault.format.manifest import Manifest, Problem, RepoEntry, Totals
from pachvault.format.problem_kinds import INDEX_HEALED
from pachvault.format.records import PipelinesRecord
from pachvault.vault import pending_deletes, snapshots
from pachvault.vault.index import blob_index, index_objects
from pachvault.vault.repo_history import RepoHistory
from pachvault.vault.snapshots import Snapshot, SnapshotName
from pachvault.vault.vault import Vault


def seal(vault: Vault, plan: Plan, receipts: Sequence[Receipt]) -> Snapshot:
    """Seal the snapshot of a run whose plan has status `work`. Sealing again returns the same snapshot.

    Raises PachvaultError where a receipt is missing or is of another run, DamageError where an object
    that the snapshot needs is not what was written. Nothing is sealed then.
    """
    if plan.frozen_at is None or plan.freeze_began_at is None or plan.cluster is None:
        raise PachvaultError(f"a plan with status {plan.status} seals nothing")
    # first: a datum that is tried again after the manifest must not seal a second snapshot
    sealed = _sealed_before(vault, plan)
    if sealed is not None:
        if run_records.is_announced(vault, plan.run_id):  # it was killed before it checked its own times
            run_records.check_sealed(vault, plan.run_id, sealed.name.path)
            run_records.finish(vault, plan.run_id)
        return sealed
    # format 9.5: the marks as they are now, not those that the export read
    vault = pending_deletes.for_writing(vault)
    check_receipts(plan, receipts)
    exported = _exported(receipts)
    problems = list(plan.problems)
    reported = {(problem.repo, problem.commit) for problem in problems if problem.commit}
    entries = []
    tables: set[bytes] = set()
    for planned in plan.repos:
        entry, repo_problems, history = _repo(vault, planned, exported.get(planned.name, {}))
        entries.append(entry)
        tables.update(table.tables_of(history.commits))
        problems.extend(
            problem for problem in repo_problems if (problem.repo, problem.commit) not in reported
        )
    _drop_bad_receipts(vault, receipts, problems)
    try:
        check_objects(vault, receipts)
        check_tables(vault, tables)
    except (DamageError, BusyError):
        for receipt in receipts:  # or the next run would rely on the same objects
            run_records.drop_receipt(vault, receipt.key)
        # where the run took too long its objects were pruned: that is no damage, and has an error of its own
        run_records.check_age(vault, plan.run_id)
        raise
    # format 11.2: an index object for unindexed packs, before a manifest may rely on them
    problems = [*summed_up(problems), *_index_healed(vault), *_lost(vault)]
    pipelines = vault.put_record(PipelinesRecord(pipelines=plan.pipelines))
    erased = inherited(vault, [repo.previous for repo in plan.repos if repo.previous is not None])
    # format 8.5.1; two runs that seal at once may take the same number, and sealed_at decides
    sequence = snapshots.next_sequence(vault)
    manifest = Manifest(
        vault_id=vault.config.vault_id,
        run_id=plan.run_id,
        policy=plan.policy,
        selection=plan.selection,
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
    # format 9.6, once more: check_age cannot see how long the put above took. Before all else, because a
    # manifest that was written too late must not stay
    run_records.check_sealed(vault, plan.run_id, path)
    # what the store acknowledged may not be what it wrote; now the next run can still repeat it
    vault.read(path)
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


def _exported(receipts: Iterable[Receipt]) -> dict[RepoName, dict[str, Exported]]:
    """The receipts of each commit's items, added up, by repo and commit."""
    exported: dict[RepoName, dict[str, Exported]] = {}
    for receipt in receipts:
        for item in receipt.items:
            commits = exported.setdefault(RepoName(item.project, item.repo), {})
            earlier = commits.get(item.commit, Exported())
            commits[item.commit] = Exported(
                tables=(*earlier.tables, *item.tables),
                rows=earlier.rows + item.rows,
                bytes=earlier.bytes + item.bytes,
                problem=earlier.problem or item.problem,
                problem_kind=earlier.problem_kind if earlier.problem else item.problem_kind,
            )
    return exported


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
    rows = with_checkpoints(vault, planned.name, rows)
    record = write_record(vault, planned, previous, rows, branches)
    history = RepoHistory(vault, vault.repo_record(record))
    return _entry(planned, record, history), problems + missing, history


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
        history_listed_at=planned.history_listed_at,
    )


def _index_healed(vault: Vault) -> list[Problem]:
    """Write an index object for the packs that are in none: theirs was lost, or their run died.

    The snapshot may rely on these packs (docs/format.md, 6.1).
    """
    rows = blob_index.unindexed_rows(vault)
    if not len(rows):
        return []
    index_objects.write(vault, rows)
    message = f"{len(rows.packs)} packs were in no index object; one was written for them"
    return [Problem(repo="*", kind=INDEX_HEALED, message=message)]


def _lost(vault: Vault) -> list[Problem]:
    """A problem for the packs of earlier runs that the vault has lost: this run may rely on them."""
    lost = blob_index.lost_packs(vault)
    if not lost:
        return []
    message = (
        f"{len(lost)} packs of the vault are missing or too short, for example {lost[0]}: "
        "`pachvault verify` lists what is affected, `pachvault repair` reads it again"
    )
    return [Problem(repo="*", kind="packs-lost", message=message)]


def _drop_bad_receipts(vault: Vault, receipts: Sequence[Receipt], problems: Sequence[Problem]) -> None:
    """Delete the receipts of commits with problems, so that the next run reads these again."""
    bad = {(problem.repo, problem.commit) for problem in problems if problem.commit}
    for receipt in receipts:
        if any((f"{item.project}/{item.repo}", item.commit) in bad for item in receipt.items):
            run_records.drop_receipt(vault, receipt.key)


def _totals(plan: Plan, receipts: Sequence[Receipt]) -> Totals:
    # by digest: two shares may have the same pack
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
