package edgedistill.glue

/**
 * Everything that can go wrong with a bundle or a model.
 *
 * Each message says what was found, what was expected and what to do. The type says what kind of error it is, so that
 * an app can react: update the app, download the bundle again, or report a mistake in its own code.
 */
public sealed class ModelError(message: String, cause: Throwable? = null) : Exception(message, cause) {
    /** `manifest.json` is not what edgedistill writes, or not the one that was expected. */
    public class DamagedManifest(reason: String, cause: Throwable? = null) :
        ModelError("$MANIFEST_FILE: $reason: copy the bundle again", cause)

    /** The bundle is newer than this code. */
    public class NewerManifest(found: String) :
        ModelError("found $found, this code reads $MANIFEST_SCHEMA: update the app's glue code")

    /** The document is of another kind, or older than this code. */
    public class OtherManifest(found: String) :
        ModelError("found $found, this code reads $MANIFEST_SCHEMA: write the bundle again with edgedistill export")

    /** The signature of the manifest is missing or wrong, or nothing here can check it. */
    public class WrongSignature(reason: String, cause: Throwable? = null) :
        ModelError("$SIGNATURE_FILE: $reason", cause)

    /** A path in the manifest leads out of the bundle, or to a link. */
    public class UnsafePath(path: String, reason: String) :
        ModelError("the path '$path' $reason, expected a file inside the bundle: do not use this bundle")

    /** A file of the bundle is not there. */
    public class MissingFile(path: String, bundle: String, cause: Throwable? = null) :
        ModelError("$path is missing in $bundle: copy the bundle again, with all its files", cause)

    /** A file of the bundle is not the one that was exported. [found] and [expected] are SHA-256. */
    public class ChangedFile(path: String, found: String, expected: String) :
        ModelError("$path has the SHA-256 ${found.take(12)}, expected ${expected.take(12)}: copy the bundle again")

    /** No artifact of the bundle can be opened by a runtime of this package. */
    public class NoRuntime(reason: String) : ModelError(reason)

    /** The runtime in the app is older than the artifact needs. */
    public class OldRuntime(name: String, found: String, expected: String) :
        ModelError("found $name $found, expected $expected or later: raise its version in build.gradle.kts")

    /** An input or an option is not what the model takes. The app's own code has to change. */
    public class WrongInput(reason: String) : ModelError(reason)

    /** The runtime failed. The cause is its own exception. */
    public class RuntimeFailure(doing: String, cause: Throwable?) :
        ModelError("$doing failed: ${cause?.message ?: cause ?: "the runtime gives no reason"}", cause)

    /** The caller asked to stop. */
    public class Cancelled : ModelError("the call was cancelled")

    /** The model was used after `close()`. */
    public class Closed : ModelError("the model is closed: load it again")
}
