"""restic of Debian 12: backup, check, restore, forget."""

from conftest import digest, sh


def test_backup_check_restore_forget(endpoint, tree, tmp_path):
    env = endpoint.env(
        tmp_path,
        RESTIC_PASSWORD="restic-password",
        RESTIC_REPOSITORY="s3:%s/%s/repo"
        % (endpoint.url, endpoint.bucket_name("restic")),
        RESTIC_CACHE_DIR=str(tmp_path / "cache"),
    )

    def restic(*args):
        ca = ["--cacert", endpoint.ca] if endpoint.tls else []
        return sh(["/usr/bin/restic"] + ca + list(args), env)

    restic("init")
    restic("backup", tree)
    restic("backup", "--force", tree)
    assert "no errors were found" in restic("check", "--read-data")
    restic("restore", "latest", "--target", tmp_path / "back")
    assert digest(str(tmp_path / "back") + str(tree)) == digest(tree)
    restic("forget", "--keep-last", "1", "--prune")
    assert "no errors were found" in restic("check", "--read-data")
