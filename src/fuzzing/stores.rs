use crate::capacity::stores::{containerd_usage, docker_usage, podman_usage};

/// Disk usage as container engines report it: a truncated answer is rejected, or only its complete lines count.
pub fn store_usage(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = containerd_usage(&text);
    if podman_usage(&text).is_some() {
        let text = text.trim_end();
        assert!(podman_usage(&text[..text.len() - 1]).is_none(), "half a list");
    }
    if let Some((size, reclaimable)) = docker_usage(&text) {
        let first = text.lines().next().unwrap_or_default();
        let (less, less_reclaimable) = docker_usage(first).unwrap_or_default();
        assert!(less <= size && less_reclaimable <= reclaimable);
    }
}
