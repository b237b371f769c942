package edgedistill.glue

import java.security.GeneralSecurityException
import java.security.KeyFactory
import java.security.NoSuchAlgorithmException
import java.security.Signature
import java.security.spec.X509EncodedKeySpec

internal const val SIGNATURE_FILE = "manifest.sig"
private const val KEY_BYTES = 32
private const val SIGNATURE_BYTES = 64

/** What stands before the 32 bytes of an Ed25519 key in an X.509 SubjectPublicKeyInfo (RFC 8410, section 4). */
private val X509_PREFIX = byteArrayOf(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00)

/**
 * Checks an Ed25519 signature.
 *
 * Not every Android has Ed25519 among its own algorithms. Where [platformEd25519] finds none, give one of a library,
 * such as Tink: `SignatureVerifier { key, message, signature -> Ed25519Verify(key).verify(signature, message); true }`.
 */
public fun interface SignatureVerifier {
    /**
     * Whether [signature], 64 bytes, was made of [message] with the private key of [publicKey], 32 bytes.
     *
     * A [GeneralSecurityException] means that it was not, [NoSuchAlgorithmException] that nothing here can tell.
     */
    public fun verify(publicKey: ByteArray, message: ByteArray, signature: ByteArray): Boolean
}

/** Checks with the platform's own algorithms; throws [NoSuchAlgorithmException] where they have no Ed25519. */
public val platformEd25519: SignatureVerifier = SignatureVerifier { publicKey, message, signature ->
    val key = KeyFactory.getInstance("Ed25519").generatePublic(X509EncodedKeySpec(X509_PREFIX + publicKey))
    val check = Signature.getInstance("Ed25519")
    check.initVerify(key)
    check.update(message)
    check.verify(signature)
}

/** Throws [ModelError.WrongSignature] unless the bundle has a signature of [manifest] by the owner of [publicKey]. */
internal fun checkSignature(
    bundle: BundleReader,
    manifest: ByteArray,
    publicKey: ByteArray,
    verifier: SignatureVerifier,
) {
    if (publicKey.size != KEY_BYTES) {
        val reason = "found a public key of ${publicKey.size} bytes, expected the raw $KEY_BYTES bytes"
        throw ModelError.WrongSignature(reason)
    }
    val signature = try {
        bundle.open(SIGNATURE_FILE).use { it.readBytes() }
    } catch (error: ModelError.MissingFile) {
        throw ModelError.WrongSignature("is missing, and a public key was given: use a signed bundle", error)
    }
    val valid = try {
        signature.size == SIGNATURE_BYTES && verifier.verify(publicKey, manifest, signature)
    } catch (error: NoSuchAlgorithmException) {
        val reason = "this device has no Ed25519: give ModelOptions.verifier one of a library, such as Tink"
        throw ModelError.WrongSignature(reason, error)
    } catch (_: GeneralSecurityException) {
        false
    }
    if (!valid) {
        throw ModelError.WrongSignature("does not belong to $MANIFEST_FILE and this public key: do not use this bundle")
    }
}
