//! The short, plain form of the fuzz target `images`: damaged documents and noise, none of which may panic.

#[path = "common/documents.rs"]
mod documents;

use documents::documents;

/// Numbers that look random and are the same every time.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    let next = |x: &u64| {
        Some(
            x.wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695),
        )
    };
    std::iter::successors(Some(seed), next).map(|x| x >> 24)
}

#[test]
fn no_bytes_make_it_panic() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let layer = format!(
        r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{digest}","size":7,"platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}}"#
    );
    let samples = [
        format!(r#"{{"manifests":[{layer},{layer}]}}"#),
        format!(r#"{{"schemaVersion":2,"config":{layer},"layers":[{layer},{layer}]}}"#),
        format!(
            r#"{{"os":"linux","architecture":"arm64","config":{{"Env":["A=b"],"Entrypoint":["/e"],"Cmd":["c"],"WorkingDir":"/","User":"1:2"}},"rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#
        ),
        r#"[{"Config":"c.json","RepoTags":["x:1"],"Layers":["a/layer.tar"]}]"#.into(),
        r#"{"auths":{"https://h/v1/":{"auth":"YTpi"},"i":{"username":"u","password":"p"}}}"#.into(),
        r#"Bearer realm="https://h/t",service="s",scope="repository:a:pull,push""#.into(),
        format!("h.example:5000/a/b-c:t@{digest}"),
        r#"{"token":"a.b.c"}"#.into(),
    ];
    for (number, sample) in samples.iter().map(String::as_bytes).enumerate() {
        documents(sample);
        for (turn, place) in noise(number as u64).take(2000).enumerate() {
            let mut damaged = sample.to_vec();
            let at = place as usize % damaged.len();
            damaged[at] ^= 1 << (turn % 8);
            documents(&damaged);
            documents(&damaged[..at]);
            damaged.splice(at..at, sample.iter().copied().skip(at / 2).take(turn % 40));
            documents(&damaged);
        }
    }
}
