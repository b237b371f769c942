// Declarations of Apple's UIKit that the glue code uses, as documented. They only let tests check types on Linux.
import CoreGraphics

public final class UIImage {
    public enum Orientation: Int { case up, down, left, right, upMirrored, downMirrored, leftMirrored, rightMirrored }
    public var cgImage: CGImage? { nil }
    public var imageOrientation: Orientation { .up }
}
