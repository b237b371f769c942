package edgedistill.glue

/** Opens model files of some formats. Each runtime of the package is one file. */
public interface ModelRuntime {
    /** Formats of artifacts that it opens. */
    public val formats: Set<String>

    /** Its name in the manifest's `minimum_runtime`. */
    public val name: String

    /** Its version. A runtime that does not tell has the one in build.gradle.kts. */
    public val version: String

    /**
     * Open an artifact whose SHA-256 was checked. Exceptions become [ModelError.RuntimeFailure].
     *
     * @throws ModelError.WrongInput where it has no such delegate as [options] ask for
     */
    public fun open(bundle: BundleReader, artifact: Artifact, options: ModelOptions): Program
}

/** An open model file. Calls come one at a time. */
public interface Program : AutoCloseable {
    /** What computes, such as `xnnpack`; `unknown: ...` with the reason where the runtime does not tell. */
    public val delegate: String

    /** The outputs by name. [inputs] have the types and shapes of the signature. */
    public fun run(inputs: Map<String, Tensor>): Map<String, Tensor>
}

/**
 * How a model is loaded.
 *
 * @property artifact name of the artifact; null takes the first one that a runtime of the app can open
 * @property threads that compute, 1 or more
 * @property delegate what shall compute, as the runtime's file lists it; null takes the runtime's default
 * @property manifestSha256 SHA-256 that the manifest must have, where the app's code names one bundle; null allows any
 * @property publicKey 32 bytes of an Ed25519 key; with it, the manifest must have a signature by its owner
 * @property verifier checks that signature
 */
public class ModelOptions(
    public val artifact: String? = null,
    public val threads: Int = 1,
    public val delegate: String? = null,
    public val manifestSha256: String? = null,
    public val publicKey: ByteArray? = null,
    public val verifier: SignatureVerifier = platformEd25519,
)

/** Throws [ModelError.OldRuntime] where [runtime] is older than [artifact] needs. */
internal fun checkVersion(runtime: ModelRuntime, artifact: Artifact) {
    val expected = artifact.minimumRuntime[runtime.name] ?: return
    if (isOlder(runtime.version, expected)) {
        throw ModelError.OldRuntime(runtime.name, runtime.version, expected)
    }
}

/** Whether the version [found], such as 1.9.2, is before [expected], such as 1.10. Only numbers count. */
internal fun isOlder(found: String, expected: String): Boolean {
    val a = numbers(found)
    val b = numbers(expected)
    for (i in 0 until maxOf(a.size, b.size)) {
        val difference = a.getOrElse(i) { 0 } - b.getOrElse(i) { 0 }
        if (difference != 0) return difference < 0
    }
    return false
}

private fun numbers(version: String): List<Int> =
    version.split('.').map { part -> part.takeWhile { it.isDigit() }.toIntOrNull() ?: 0 }

/**
 * {name in the signature: name in the file}: by name where all are the same, else by position.
 *
 * Some converters rename inputs and outputs, but keep their order.
 */
internal fun matchNames(ports: List<Port>, own: List<String>): Map<String, String> {
    val names = ports.map { it.name }
    require(names.size == own.size) { "expected $names, found $own in the file" }
    return if (names.toSet() == own.toSet()) names.associateWith { it } else names.zip(own).toMap()
}
